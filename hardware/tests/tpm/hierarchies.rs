//! Hierarchies with an authorization value.

use dps_device::ErrorKind;
use dps_device::attestation::TpmKeys;
use dps_device::tpm::{HierarchyAuth, KeyAuth, KeyKind, Tpm, TpmAttestation};
use dps_hardware::Swtpm;
use dps_types::sas::Sign;

use crate::{cause, chain, open, options, raw, secret, wrap};

const KEY: &[u8] = &[9; 32];

#[tokio::test]
async fn the_owner_value_is_required_to_store_keys() {
    let swtpm = Swtpm::start();
    swtpm.set_auth(raw::OWNER, b"owner's secret");

    for wrong in ["", "another secret"] {
        let tpm = Tpm::open(options(&swtpm).with_owner_auth(secret(wrong)))
            .await
            .unwrap();
        let error = TpmAttestation::new(&tpm).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert_eq!(cause(&error).response_code(), Some(0x9a2));
        let text = chain(&error);
        assert!(
            text.contains("TPM_RC_BAD_AUTH (0x9a2): an authorization value is wrong"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
    assert!(raw::persistent(&swtpm).is_empty());

    let tpm = Tpm::open(options(&swtpm).with_owner_auth(secret("owner's secret")))
        .await
        .unwrap();
    let who = TpmAttestation::new(&tpm).await.unwrap();
    who.keep_hub_key(&wrap::wrap(&who, KEY)).await.unwrap();
    assert_eq!(
        tpm.hub_signer().sign(b"data").await.unwrap().0,
        wrap::hmac(KEY, b"data")
    );
    // Signing does not require the owner's value.
    let signature = open(&swtpm).await.hub_signer().sign(b"data").await.unwrap();
    assert_eq!(signature.0, wrap::hmac(KEY, b"data"));

    let error = open(&swtpm)
        .await
        .key_pair()
        .create(KeyKind::P256)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn the_endorsement_value_is_required_to_open_a_challenge() {
    let swtpm = Swtpm::start();
    swtpm.set_auth(raw::ENDORSEMENT, b"privacy");

    let error = TpmAttestation::new(&open(&swtpm).await).await.unwrap_err();
    assert_eq!(cause(&error).response_code(), Some(0x9a2));

    let tpm = Tpm::open(options(&swtpm).with_endorsement_auth(secret("privacy")))
        .await
        .unwrap();
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let blob = wrap::wrap(&who, KEY);
    who.activate(&blob).await.unwrap();
    assert_eq!(who.sign(b"data").await.unwrap().0, wrap::hmac(KEY, b"data"));

    // The keys exist now, but the challenge cannot be opened without the value.
    let without = TpmAttestation::new(&open(&swtpm).await).await.unwrap();
    let error = without.activate(&blob).await.unwrap_err();
    assert!(
        chain(&error).contains("TPM2_PolicySecret: TPM_RC_BAD_AUTH"),
        "{}",
        chain(&error)
    );
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn a_value_that_is_too_long_for_the_tpm_is_an_error_and_the_longest_one_of_a_key_is_accepted()
{
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let longest = tpm.key_pair().with_auth(secret([1; KeyAuth::MAX_BYTES]));
    longest.create(KeyKind::P256).await.unwrap();
    KeyAuth::new([1; KeyAuth::MAX_BYTES + 1]).unwrap_err();
    HierarchyAuth::new([1; HierarchyAuth::MAX_BYTES + 1]).unwrap_err();
}
