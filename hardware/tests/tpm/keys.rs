//! The endorsement key and the storage root key, which are created once.

use std::time::Duration;

use dps_device::attestation::TpmKeys;
use dps_device::tpm::{
    EndorsementTemplate, KeyKind, PersistentHandle, Tpm, TpmAttestation, TpmOptions,
};
use dps_device::{Attestation, ErrorKind};
use dps_hardware::Swtpm;
use dps_types::sas::Sign;
use futures_util::FutureExt as _;
use tokio::runtime::Runtime;

use crate::wrap::{hmac, wrap};
use crate::{attestation, chain, open, options, raw};

#[tokio::test]
async fn keys_are_created_in_a_new_tpm_and_reused_later() {
    let mut swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    assert!(
        raw::persistent(&swtpm).is_empty(),
        "opening creates nothing"
    );
    let fresh = TpmAttestation::new(&tpm).await.unwrap();
    assert_eq!(raw::persistent(&swtpm), [0x8100_0001, 0x8101_0001]);
    assert_eq!(fresh.endorsement_key().attributes(), 0x0003_00b2);
    assert_eq!(fresh.storage_root_key().attributes(), 0x0003_0472);

    swtpm.restart();
    let used = attestation(&swtpm).await;

    assert_eq!(used.endorsement_key(), fresh.endorsement_key());
    assert_eq!(used.storage_root_key(), fresh.storage_root_key());
    assert_eq!(used.registration_id(), fresh.registration_id());
    assert_eq!(
        used.registration_id(),
        &used.endorsement_key().default_registration_id()
    );
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn the_templates_create_different_keys_and_an_existing_key_is_used() {
    let swtpm = Swtpm::start();
    let azure = attestation(&swtpm).await;

    let tcg = options(&swtpm).with_endorsement_template(EndorsementTemplate::Tcg);
    let elsewhere = PersistentHandle::new(0x8101_0002).unwrap();
    let other = Tpm::open(tcg.clone().with_endorsement_key(elsewhere))
        .await
        .unwrap();
    let other = TpmAttestation::new(&other).await.unwrap();
    assert_ne!(other.endorsement_key(), azure.endorsement_key());
    assert_ne!(other.registration_id(), azure.registration_id());
    for (who, key) in [(&azure, [7; 32]), (&other, [8; 32])] {
        who.activate(&wrap(who, &key)).await.unwrap();
        assert_eq!(who.sign(b"data").await.unwrap().0, hmac(&key, b"data"));
    }

    let kept = TpmAttestation::new(&Tpm::open(tcg).await.unwrap())
        .await
        .unwrap();
    assert_eq!(kept.endorsement_key(), azure.endorsement_key());
}

#[tokio::test]
async fn another_kind_of_key_at_a_handle_is_an_error_and_not_changed() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let pair = tpm
        .key_pair()
        .with_handle(PersistentHandle::ENDORSEMENT_KEY);
    pair.create(KeyKind::P256).await.unwrap();
    let kept = raw::persistent(&swtpm);

    let error = TpmAttestation::new(&tpm).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(chain(&error).contains("0x81010001"), "{}", chain(&error));
    assert_eq!(raw::persistent(&swtpm), kept);
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn a_missing_tpm_is_a_configuration_error() {
    let mut swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let who = TpmAttestation::new(&tpm).await.unwrap();
    swtpm.stop();

    let error = Tpm::open(options(&swtpm)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(
        chain(&error).contains("TSS2_TCTI_RC_IO_ERROR (0xa000a)"),
        "{}",
        chain(&error)
    );

    let error = who.sign(b"data").await.unwrap_err();
    assert!(
        chain(&error).contains("TSS2_TCTI_RC_IO_ERROR"),
        "{}",
        chain(&error)
    );

    let nowhere = "device:/dev/no-such-tpm".parse().unwrap();
    let error = Tpm::open(TpmOptions::default().with_tcti(nowhere))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(
        chain(&error).contains("/dev/no-such-tpm cannot be opened"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_cleared_tpm_is_detected() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let blob = wrap(&who, &[7; 32]);
    raw::clear(&swtpm);

    let error = who.activate(&blob).await.unwrap_err();
    assert!(chain(&error).contains("cleared"), "{}", chain(&error));
    let again = attestation(&swtpm).await;
    assert_ne!(again.storage_root_key(), who.storage_root_key());
}

#[tokio::test]
async fn a_tpm_without_free_sessions_has_a_clear_error() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    // The maximum number of sessions of libtpms.
    let sessions = [(); 3].map(|()| raw::leave_session(&swtpm));

    let error = who.activate(&wrap(&who, &[7; 32])).await.unwrap_err();

    let text = chain(&error);
    assert!(text.contains("TPM_RC_SESSION_MEMORY (0x903)"), "{text}");
    assert!(text.contains("/dev/tpmrm0"), "{text}");
    assert_eq!(raw::left_behind(&swtpm), sessions);
}

#[test]
fn a_use_that_exceeds_the_timeout_leaves_nothing_loaded() {
    let swtpm = Swtpm::start();
    let limit = options(&swtpm).with_timeout(Duration::from_millis(1));
    let runtime = Runtime::new().unwrap();
    // Creating a key takes longer than this timeout.
    let error = runtime.block_on(async {
        let tpm = Tpm::open(limit).await?;
        TpmAttestation::new(&tpm).await
    });
    // Waits for the blocking work that has begun.
    drop(runtime);

    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(error.is_retryable());
    let text = chain(&error);
    assert!(text.contains("did not answer within 1ms"), "{text}");
    assert!(raw::left_behind(&swtpm).is_empty());
    let runtime = Runtime::new().unwrap();
    runtime.block_on(attestation(&swtpm));
}

#[test]
fn a_use_whose_future_was_dropped_changes_no_key() {
    let swtpm = Swtpm::start();
    let runtime = Runtime::new().unwrap();
    let who = runtime.block_on(attestation(&swtpm));
    runtime.block_on(async {
        who.keep_hub_key(&wrap(&who, &[7; 32])).await.unwrap();
        let challenge = wrap(&who, &[8; 32]);
        // The future is polled once, so that the work begins, and dropped.
        assert!(who.activate(&challenge).now_or_never().is_none());

        // The next use waits for the end of the work.
        let signature = who.sign(b"data").await.unwrap();
        assert_eq!(signature.0, hmac(&[7; 32], b"data"));
    });
    drop(runtime);
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn concurrent_uses_of_one_tpm_all_succeed() {
    let swtpm = Swtpm::start();
    let who = std::sync::Arc::new(attestation(&swtpm).await);
    who.activate(&wrap(&*who, &[7; 32])).await.unwrap();

    let uses = (0..20_u8).map(|number| {
        let who = who.clone();
        tokio::spawn(async move { who.sign(&[number]).await.unwrap().0 })
    });
    for (number, signature) in futures_util::future::join_all(uses)
        .await
        .into_iter()
        .enumerate()
    {
        let number = u8::try_from(number).unwrap();
        assert_eq!(signature.unwrap(), hmac(&[7; 32], &[number]));
    }
    assert!(raw::left_behind(&swtpm).is_empty());
}
