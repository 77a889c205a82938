//! The certificate chain of a device in the memory of its TPM.

use dps_device::tpm::{KeyKind, NvIndex, NvProblem, StoredChain, Tpm, TpmKeyPair};
use dps_device::{ErrorKind, Http, X509Attestation};
use dps_hardware::Swtpm;
use dps_tls::read_chain;
use dps_types::enrollment::AttestationMechanism;

use crate::authority::Authority;
use crate::dps::{Dps, HUB};
use crate::{cause, chain, open, options, raw, secret};

const DEVICE: &str = "toaster-007";
const INDEX: u32 = 0x0180_0101;
/// TPMA_NV of TCG, *TPM Library*, part 2 chapter 13.4: OWNERWRITE, OWNERREAD, AUTHREAD, NO_DA.
const DATA: u32 = 0x0206_0002;

pub(crate) async fn issued(key: &TpmKeyPair) -> String {
    let request = key.certificate_request(&DEVICE.parse().unwrap()).await;
    Authority::new().sign(&request.unwrap())
}

/// The problem of an NV index that an operation reported.
fn problem<T: std::fmt::Debug>(result: Result<T, dps_device::Error>) -> NvProblem {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{error:#}");
    cause(&error)
        .nv_problem()
        .unwrap_or_else(|| panic!("{}", chain(&error)))
}

#[tokio::test]
async fn a_device_with_key_and_chain_in_its_tpm_registers_after_a_restart() {
    let mut swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let issued = issued(&key).await;
    tpm.stored_chain().write(&issued).await.unwrap();
    assert_eq!(raw::indices(&swtpm), [INDEX]);

    swtpm.restart();
    let tpm = open(&swtpm).await;
    let key = tpm.key_pair().open().await.unwrap();
    let identity = key.stored_identity(&tpm.stored_chain()).await.unwrap();
    assert_eq!(identity.certified_key().cert.len(), 2);
    let dps = Dps::start().await;
    let leaf = issued.split_inclusive("-----END CERTIFICATE-----\n").next();
    let enrolled = AttestationMechanism::client_certificate(leaf.unwrap());
    dps.enroll_as(&DEVICE.parse().unwrap(), enrolled).await;
    let transport = Http::default().with_port(dps.emulator.https_port());
    let who = X509Attestation::new(identity).unwrap();
    let assignment = dps.client_over(transport, who).register().await.unwrap();
    assert_eq!(assignment.hub().as_str(), HUB);
    assert!(raw::left_behind(&swtpm).is_empty());
    dps.shutdown().await;
}

#[tokio::test]
async fn a_chain_is_replaced_and_removed() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let stored = tpm.stored_chain();
    assert_eq!(problem(stored.read().await), NvProblem::NotFound);
    stored.remove().await.unwrap();

    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    for _ in 0..2 {
        let issued = issued(&key).await;
        stored.write(&issued).await.unwrap();
        let expected = read_chain(issued.as_bytes()).unwrap();
        assert_eq!(stored.read().await.unwrap(), expected);
    }
    let second = NvIndex::new(0x0180_0102).unwrap();
    let second = tpm.stored_chain().with_index(second);
    second.write(issued(&key).await).await.unwrap();
    stored.remove().await.unwrap();
    assert_eq!(raw::indices(&swtpm), [0x0180_0102]);
    key.stored_identity(&second).await.unwrap();
    assert_eq!(
        problem(key.stored_identity(&stored).await),
        NvProblem::NotFound
    );
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn a_chain_of_another_key_is_refused() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    tpm.stored_chain().write(issued(&key).await).await.unwrap();
    tpm.key_pair().remove().await.unwrap();
    let another = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let error = another
        .stored_identity(&tpm.stored_chain())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[tokio::test]
async fn damaged_and_foreign_content_is_reported_and_never_replaced() {
    let swtpm = Swtpm::start();
    let (tpm, stored) = opened(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let issued = issued(&key).await;
    stored.write(&issued).await.unwrap();
    for (offset, damage) in [(0, &[0x31][..]), (1, &[0x84]), (2, &[0xff, 0xff])] {
        raw::write(&swtpm, INDEX, offset, damage);
        assert_eq!(problem(stored.read().await), NvProblem::Content);
        assert_eq!(problem(stored.write(&issued).await), NvProblem::Content);
        assert_eq!(problem(stored.remove().await), NvProblem::Content);
        let writable = stored.check_writable(1200).await;
        assert_eq!(problem(writable), NvProblem::Content);
        // Repaired for the next damage.
        let head = &read_chain(issued.as_bytes()).unwrap()[0][..4];
        raw::write(&swtpm, INDEX, 0, head);
        stored.read().await.unwrap();
    }

    // Text of another program.
    let foreign = tpm
        .stored_chain()
        .with_index(NvIndex::new(0x0180_0200).unwrap());
    assert!(raw::define(&swtpm, 0x0180_0200, DATA, 32));
    assert_eq!(problem(foreign.read().await), NvProblem::Blank);
    raw::write(&swtpm, 0x0180_0200, 0, b"the settings of another program!");
    assert_eq!(problem(foreign.read().await), NvProblem::Content);
    assert_eq!(problem(foreign.write(&issued).await), NvProblem::Content);
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn an_interrupted_writing_is_blank_and_is_completed_by_the_next_one() {
    let swtpm = Swtpm::start();
    let (tpm, stored) = opened(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let issued = issued(&key).await;
    // Defined, but never written.
    assert!(raw::define(&swtpm, INDEX, DATA, 1500));
    assert_eq!(problem(stored.read().await), NvProblem::Blank);
    stored.write(&issued).await.unwrap();
    stored.read().await.unwrap();
    stored.remove().await.unwrap();

    // The last part was written, the first was not. New content is 0xff.
    assert!(raw::define(&swtpm, INDEX, DATA, 1500));
    raw::write(&swtpm, INDEX, 1024, &[0x5a; 476]);
    assert_eq!(problem(stored.read().await), NvProblem::Blank);
    stored.write(&issued).await.unwrap();
    stored.read().await.unwrap();
}

#[tokio::test]
async fn content_that_does_not_fit_leaves_the_earlier_chain() {
    let swtpm = Swtpm::start();
    let (tpm, stored) = opened(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let issued = issued(&key).await;
    stored.check_writable(1200).await.unwrap();
    assert!(raw::indices(&swtpm).is_empty());
    stored.write(&issued).await.unwrap();
    stored.check_writable(1200).await.unwrap();
    let writable = stored.check_writable(2049).await;
    assert_eq!(problem(writable), NvProblem::TooLarge);

    let long = issued.repeat(5);
    let error = stored.write(&long).await.unwrap_err();
    assert!(chain(&error).contains("at most 2048"), "{}", chain(&error));
    assert_eq!(cause(&error).nv_problem(), Some(NvProblem::TooLarge));
    stored.read().await.unwrap();

    raw::fill_memory(&swtpm);
    let error = stored.write(format!("{issued}{issued}")).await.unwrap_err();
    assert_eq!(cause(&error).response_code(), Some(0x14b));
    assert_eq!(cause(&error).nv_problem(), Some(NvProblem::NoSpace));
    let kept = stored.read().await.unwrap();
    assert_eq!(kept, read_chain(issued.as_bytes()).unwrap());
    // Without an earlier chain.
    let second = tpm
        .stored_chain()
        .with_index(NvIndex::new(0x0180_0102).unwrap());
    assert_eq!(problem(second.write(&issued).await), NvProblem::NoSpace);
    let writable = second.check_writable(1200).await;
    assert_eq!(problem(writable), NvProblem::NoSpace);
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn indices_with_other_attributes_and_locks_have_their_own_problems() {
    let swtpm = Swtpm::start();
    let (tpm, _) = opened(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let issued = issued(&key).await;
    let stored = |index| tpm.stored_chain().with_index(NvIndex::new(index).unwrap());

    // A counter: TPM_NT_COUNTER.
    assert!(raw::define(&swtpm, 0x0180_0300, DATA | 0x10, 8));
    assert_eq!(
        problem(stored(0x0180_0300).read().await),
        NvProblem::Attributes
    );
    assert_eq!(
        problem(stored(0x0180_0300).write(&issued).await),
        NvProblem::Attributes
    );
    assert_eq!(
        problem(stored(0x0180_0300).remove().await),
        NvProblem::Attributes
    );

    // Written with its own authorization value (AUTHWRITE) instead of the owner's.
    assert!(raw::define(&swtpm, 0x0180_0301, 0x0206_0004, 64));
    assert_eq!(
        problem(stored(0x0180_0301).write(&issued).await),
        NvProblem::Attributes
    );

    // Can be locked against writing until the next restart (WRITE_STCLEAR), and against reading (READ_STCLEAR).
    let der = read_chain(issued.as_bytes()).unwrap()[0].to_vec();
    for (index, lock) in [(0x0180_0302, true), (0x0180_0303, false)] {
        let size = u16::try_from(der.len()).unwrap();
        assert!(raw::define(&swtpm, index, DATA | 0x8000_4000, size));
        raw::write(&swtpm, index, 0, &der);
        match lock {
            true => raw::lock_writing(&swtpm, index),
            false => raw::lock_reading(&swtpm, index),
        }
    }
    stored(0x0180_0302).read().await.unwrap();
    assert_eq!(
        problem(stored(0x0180_0302).write(&issued).await),
        NvProblem::Locked
    );
    assert_eq!(
        problem(stored(0x0180_0302).remove().await),
        NvProblem::Locked
    );
    assert_eq!(problem(stored(0x0180_0303).read().await), NvProblem::Locked);
    assert_eq!(
        problem(stored(0x0180_0303).write(&issued).await),
        NvProblem::Locked
    );
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn the_owner_writes_and_everyone_reads() {
    let swtpm = Swtpm::start();
    let (tpm, _) = opened(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let issued = issued(&key).await;
    swtpm.set_auth(raw::OWNER, b"owner");
    let owner = Tpm::open(options(&swtpm).with_owner_auth(secret("owner")))
        .await
        .unwrap();
    owner.stored_chain().write(&issued).await.unwrap();

    tpm.stored_chain().read().await.unwrap();
    for result in [
        tpm.stored_chain().write(&issued).await,
        tpm.stored_chain().remove().await,
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert_eq!(cause(&error).nv_problem(), None);
        assert!(
            chain(&error).contains("authorization value"),
            "{}",
            chain(&error)
        );
    }
    tpm.stored_chain().read().await.unwrap();
    owner.stored_chain().remove().await.unwrap();
}

#[tokio::test]
async fn other_content_than_a_chain_is_not_written() {
    let swtpm = Swtpm::start();
    let (_, stored) = opened(&swtpm).await;
    let error = stored.write("no chain").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(raw::indices(&swtpm).is_empty());
}

async fn opened(swtpm: &Swtpm) -> (Tpm, StoredChain) {
    let tpm = open(swtpm).await;
    let stored = tpm.stored_chain();
    (tpm, stored)
}
