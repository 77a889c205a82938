//! Key pairs that sign only in a measured state.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use dps_device::certificate::{KeySource, TpmKeySource};
use dps_device::tpm::{
    Approval, KeyKind, MeasuredState, Pcr, PcrBank, PcrPolicy, PersistentHandle, PolicyAuthority,
    Tpm, TpmKeyPair,
};
use dps_device::{ErrorKind, X509Attestation};
use dps_hardware::{Swtpm, TpmProxy};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};

use crate::authority::Authority;
use crate::dps::Dps;
use crate::key_source::keeps_the_key_in_use;
use crate::{cause, chain, open, options, raw, secret};

const BANK: PcrBank = PcrBank::Sha256;

/// The private key that approves states.
struct Approver(KeyPair);

impl Approver {
    fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
    }

    fn authority(&self) -> PolicyAuthority {
        PolicyAuthority::from_public_key(self.0.public_key_pem()).unwrap()
    }

    fn approve(&self, state: &MeasuredState) -> Approval {
        let signature = self.0.sign(&state.message_to_approve()).unwrap();
        Approval::new(state.clone(), &signature).unwrap()
    }
}

#[tokio::test]
async fn the_keys_of_a_source_have_its_value_and_its_policy() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let state = tpm.measured_state(BANK, [2]).await.unwrap();
    let handles = [0x8100_0201, 0x8100_0202].map(|handle| PersistentHandle::new(handle).unwrap());
    let source = || TpmKeySource::new(tpm.clone(), handles, KeyKind::P256).unwrap();
    let bound = || source().with_pcr_policy(PcrPolicy::fixed(state.clone()));
    let keys = bound().with_auth(secret("value"));
    keeps_the_key_in_use(&keys).await;
    let [name, second] = &keys.list().await.unwrap()[..] else {
        panic!("two keys");
    };
    keys.remove(second).await.unwrap();
    keys.open(name).await.unwrap();
    for other in [source(), source().with_auth(secret("value")), bound()] {
        // It is listed, so that it is not replaced by mistake.
        assert_eq!(other.list().await.unwrap().len(), 1);
        let error = other.open(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
    swtpm.extend_pcr(2);
    let error = keys.open(name).await.unwrap_err();
    assert_eq!(changed(&error), [(BANK, 2)]);
    assert_eq!(keys.list().await.unwrap().len(), 1);
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn a_key_of_a_fixed_state_is_useless_in_another_state() {
    for bank in [PcrBank::Sha256, PcrBank::Sha384] {
        let mut swtpm = Swtpm::start();
        let tpm = open(&swtpm).await;
        let state = tpm.measured_state(bank, [7, 0, 2]).await.unwrap();
        let bound = tpm
            .key_pair()
            .with_pcr_policy(PcrPolicy::fixed(state.clone()));
        let key = bound.clone().create(KeyKind::P256).await.unwrap();
        request(&key).await.unwrap();

        // Other PCRs do not matter.
        swtpm.extend_pcr(3);
        request(&key).await.unwrap();
        swtpm.extend_pcr(2);
        let pcrs = [(bank, 2)];
        let now = tpm.measured_state(bank, [0, 2, 7]).await.unwrap();
        assert_ne!(now, state);
        for error in [
            request(&key).await.unwrap_err(),
            bound.clone().open().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::KeyPolicy);
            assert_eq!(changed(&error), pcrs);
            let text = chain(&error);
            assert!(
                text.contains(&format!("PCR 2 of the bank {bank} is ")),
                "{text}"
            );
            assert!(!error.is_retryable());
        }
        // No key is created that could not be used.
        let elsewhere = PersistentHandle::new(0x8100_0200).unwrap();
        let other = bound.clone().with_handle(elsewhere);
        let error = other.create(KeyKind::P256).await.unwrap_err();
        assert_eq!(changed(&error), pcrs);
        assert!(!raw::persistent(&swtpm).contains(&elsewhere.value()));
        assert!(raw::left_behind(&swtpm).is_empty());

        // A restart resets the PCRs.
        swtpm.restart();
        request(&key).await.unwrap();
    }
}

#[tokio::test]
async fn the_tpm_itself_refuses_a_key_without_its_policy() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let state = tpm.measured_state(BANK, [7]).await.unwrap();
    let policy = PcrPolicy::fixed(state.clone());
    let bound = tpm.key_pair().with_pcr_policy(policy.clone());
    bound.clone().create(KeyKind::P256).await.unwrap();

    let error = tpm.key_pair().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    swtpm.extend_pcr(7);
    let now = tpm.measured_state(BANK, [7]).await.unwrap();
    for other in [
        tpm.key_pair().with_pcr_policy(PcrPolicy::fixed(now)),
        tpm.key_pair()
            .with_pcr_policy(policy)
            .with_auth(secret("value")),
        tpm.key_pair()
            .with_pcr_policy(PcrPolicy::authorized(Approver::new().authority())),
    ] {
        let error = other.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert!(
            chain(&error).contains("created with another policy"),
            "{}",
            chain(&error)
        );
    }
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn an_approval_of_the_new_state_makes_a_key_usable_again() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let (approver, forger) = (Approver::new(), Approver::new());
    let policy = PcrPolicy::authorized(approver.authority());
    let options = tpm.key_pair().with_auth(secret("the key's secret"));
    let first = tpm.measured_state(BANK, [4, 7]).await.unwrap();
    let with = |policy: &PcrPolicy| options.clone().with_pcr_policy(policy.clone());

    let error = with(&policy).create(KeyKind::P256).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(chain(&error).contains("no approval"), "{}", chain(&error));

    let policy = policy.with_approval(approver.approve(&first));
    let key = with(&policy).create(KeyKind::P256).await.unwrap();
    request(&key).await.unwrap();

    swtpm.extend_pcr(4);
    let second = tpm.measured_state(BANK, [4, 7]).await.unwrap();
    let error = with(&policy).open().await.unwrap_err();
    assert_eq!(changed(&error), [(BANK, 4)]);

    let forged = policy.clone().with_approval(forger.approve(&second));
    let error = with(&forged).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    let text = chain(&error);
    assert!(
        text.contains("TPM2_VerifySignature: TPM_RC_SIGNATURE"),
        "{text}"
    );
    assert!(
        text.contains("not signed by the authority of the key's policy"),
        "{text}"
    );
    // No key is created that could not be used.
    let elsewhere = PersistentHandle::new(0x8100_0200).unwrap();
    let error = with(&forged)
        .with_handle(elsewhere)
        .create(KeyKind::P256)
        .await
        .unwrap_err();
    let text = chain(&error);
    assert!(text.contains("TPM_RC_SIGNATURE"), "{text}");
    assert!(!raw::persistent(&swtpm).contains(&elsewhere.value()));

    // The approval is text, as it comes with an update.
    let text = approver.approve(&second).to_string();
    let updated = policy.with_approval(text.parse().unwrap());
    let same = with(&updated).open().await.unwrap();
    assert_eq!(same.public_key(), key.public_key());
    request(&same).await.unwrap();

    // The value is required as well, and wrong values are counted.
    let guess = tpm
        .key_pair()
        .with_pcr_policy(updated)
        .with_auth(secret("a guess"));
    let error = guess.open().await.unwrap_err();
    assert!(
        chain(&error).contains("TPM2_Sign: TPM_RC_AUTH_FAIL"),
        "{}",
        chain(&error)
    );
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn a_handshake_in_another_state_has_the_kind_of_the_policy() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let state = tpm.measured_state(BANK, [7]).await.unwrap();
    let bound = tpm.key_pair().with_pcr_policy(PcrPolicy::fixed(state));
    let key = bound.create(KeyKind::P256).await.unwrap();
    let authority = Authority::new();
    let chain = authority.sign_with_root(&request(&key).await.unwrap());
    let device = X509Attestation::new(key.identity(chain).unwrap()).unwrap();
    let dps = Dps::start().await;
    let client = dps.client(device);
    swtpm.extend_pcr(7);
    let error = client.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyPolicy, "{error:?}");
    let text = format!("{error:#}");
    assert!(text.contains("PCR 7 of the bank sha256 is "), "{text}");
}

/// TCG, *TPM Library*, part 2, chapter 6.5.2.
const SIGN: [u8; 4] = [0, 0, 0x01, 0x5d];
const POLICY_PCR: [u8; 4] = [0, 0, 0x01, 0x7f];

/// Extends a PCR before this command, for this number of times, as Linux does when a program starts.
fn busy(swtpm: &Swtpm, before: [u8; 4], pcr: u32, left: &Arc<AtomicUsize>) -> TpmProxy {
    let left = left.clone();
    TpmProxy::shared(swtpm, move |command| {
        (command[6..10] == before && left.load(SeqCst) != 0).then(|| {
            left.fetch_sub(1, SeqCst);
            Swtpm::pcr_extension(pcr)
        })
    })
}

#[tokio::test]
async fn software_that_extends_other_pcrs_does_not_disturb_a_key_with_a_policy() {
    let swtpm = Swtpm::start();
    let approver = Approver::new();
    let left = Arc::new(AtomicUsize::new(0));
    let proxy = busy(&swtpm, SIGN, 10, &left);
    let options = options(&swtpm).with_tcti(proxy.tcti().parse().unwrap());
    let tpm = Tpm::open(options).await.unwrap();
    let state = tpm.measured_state(BANK, [7]).await.unwrap();
    for policy in [
        PcrPolicy::fixed(state.clone()),
        PcrPolicy::authorized(approver.authority()).with_approval(approver.approve(&state)),
    ] {
        let bound = tpm.key_pair().with_pcr_policy(policy);
        let key = bound.create(KeyKind::P256).await.unwrap();
        left.store(3, SeqCst);
        request(&key).await.unwrap();
        assert_eq!(left.load(SeqCst), 0);

        // Without an end, another attempt may help later: this is not the error of the policy.
        left.store(usize::MAX, SeqCst);
        let error = request(&key).await.unwrap_err();
        left.store(0, SeqCst);
        assert_eq!(cause(&error).response_code(), Some(0x128));
        assert_eq!(error.kind(), ErrorKind::Signing, "{error:#}");
        request(&key).await.unwrap();
        tpm.key_pair().remove().await.unwrap();
    }
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn a_pcr_of_the_policy_that_changes_during_the_use_is_named() {
    for before in [SIGN, POLICY_PCR] {
        let swtpm = Swtpm::start();
        let left = Arc::new(AtomicUsize::new(0));
        let proxy = busy(&swtpm, before, 7, &left);
        let options = options(&swtpm).with_tcti(proxy.tcti().parse().unwrap());
        let tpm = Tpm::open(options).await.unwrap();
        let state = tpm.measured_state(BANK, [7]).await.unwrap();
        let bound = tpm.key_pair().with_pcr_policy(PcrPolicy::fixed(state));
        let key = bound.create(KeyKind::P256).await.unwrap();
        left.store(1, SeqCst);
        let error = request(&key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyPolicy);
        assert_eq!(changed(&error), [(BANK, 7)]);
        assert!(raw::left_behind(&swtpm).is_empty());
    }
}

#[tokio::test]
async fn a_policy_works_without_encryption() {
    let swtpm = Swtpm::start();
    let tpm = Tpm::open(options(&swtpm).without_encryption())
        .await
        .unwrap();
    let state = tpm.measured_state(BANK, [7]).await.unwrap();
    let options = tpm
        .key_pair()
        .with_auth(secret("value"))
        .with_pcr_policy(PcrPolicy::fixed(state));
    let key = options.create(KeyKind::P256).await.unwrap();
    request(&key).await.unwrap();
    swtpm.extend_pcr(7);
    assert_eq!(changed(&request(&key).await.unwrap_err()), [(BANK, 7)]);
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn only_pcrs_of_the_tpm_can_be_measured() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    for wrong in [vec![], vec![24]] {
        let error = tpm.measured_state(BANK, wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
    let state = tpm.measured_state(BANK, [16, 0, 16]).await.unwrap();
    let zero = "00".repeat(32);
    assert_eq!(state.to_string(), format!("sha256:0={zero},16={zero}"));
}

fn changed(error: &(dyn std::error::Error + 'static)) -> Vec<(PcrBank, u8)> {
    let named = |pcr: &Pcr| (pcr.bank, pcr.index);
    cause(error).changed_pcrs().iter().map(named).collect()
}

async fn request(key: &TpmKeyPair) -> Result<String, dps_device::Error> {
    key.certificate_request(&"toaster-007".parse().unwrap())
        .await
}
