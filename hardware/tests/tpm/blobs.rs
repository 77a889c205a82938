//! Keys that the service encrypts: valid keys sign, and invalid keys change nothing.

use dps_device::attestation::TpmKeys;
use dps_device::tpm::{KeyKind, PersistentHandle, TpmAttestation};
use dps_hardware::Swtpm;
use dps_types::sas::{Sign, SignError};
use dps_types::tpm::AuthenticationKey;

use crate::wrap::{hmac, parts, wrap};
use crate::{attestation, cause, chain, raw};

const HUB_KEY: &[u8] = &[1; 32];
const CHALLENGE_KEY: &[u8] = &[2; 32];

#[tokio::test]
async fn the_tpm_signs_like_software() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    for length in [1, 16, 32, 64] {
        let key = vec![0xa5; length];
        who.activate(&wrap(&who, &key)).await.unwrap();
        for data in [
            &b""[..],
            b"0ne00000A0A%2Fregistrations%2Fx\n1700000000",
            &[7; 1023],
            &[7; 1024],
        ] {
            assert_eq!(who.sign(data).await.unwrap().0, hmac(&key, data));
        }
    }
    let error = who.sign(&[7; 1025]).await.unwrap_err();
    assert!(
        chain(&error).contains("up to 1024 bytes"),
        "{}",
        chain(&error)
    );
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn a_modified_part_is_detected_and_changes_nothing() {
    let swtpm = Swtpm::start();
    let who = with_hub_key(&swtpm).await;
    let kept = raw::persistent(&swtpm);

    for part in 0..5 {
        let mut parts = parts(&who, CHALLENGE_KEY);
        let last = parts[part].len() - 1;
        parts[part][last] ^= 1;
        let blob = AuthenticationKey::new(parts).unwrap();
        for error in [
            who.activate(&blob).await.unwrap_err(),
            who.keep_hub_key(&blob).await.unwrap_err(),
        ] {
            let code = cause(&error).response_code().expect("the TPM detected it");
            let text = chain(&error);
            assert!(
                text.contains(&format!("({code:#x})")),
                "part {part}: {text}"
            );
            assert!(text.contains("not for this TPM"), "part {part}: {text}");
        }
    }
    still_signs_for_the_hub(&swtpm, &who, &kept).await;

    // The last part is neither protected nor used by clients.
    let mut parts = parts(&who, CHALLENGE_KEY);
    parts[5][0] ^= 1;
    let blob = AuthenticationKey::new(parts).unwrap();
    who.activate(&blob).await.unwrap();
}

#[tokio::test]
async fn parts_of_a_wrong_length_are_detected_and_change_nothing() {
    let swtpm = Swtpm::start();
    let who = with_hub_key(&swtpm).await;
    let kept = raw::persistent(&swtpm);

    for part in 0..5 {
        let whole = parts(&who, CHALLENGE_KEY);
        let length = whole[part].len();
        for cut in [1, length / 2, length - 1, length + 1, 5000] {
            let mut parts = whole.clone();
            parts[part].resize(cut, 0);
            // Zeros after a public area are ignored.
            if part == 4 && cut > length {
                continue;
            }
            let blob = AuthenticationKey::new(parts).unwrap();
            let error = who.activate(&blob).await.unwrap_err();
            assert!(
                !cause(&error).to_string().is_empty(),
                "part {part} of {cut} bytes"
            );
        }
    }
    still_signs_for_the_hub(&swtpm, &who, &kept).await;
}

#[tokio::test]
async fn a_key_for_another_tpm_is_detected_and_changes_nothing() {
    let (swtpm, other) = (Swtpm::start(), Swtpm::start());
    let who = with_hub_key(&swtpm).await;
    let kept = raw::persistent(&swtpm);
    let foreign = wrap(&attestation(&other).await, CHALLENGE_KEY);

    for error in [
        who.activate(&foreign).await.unwrap_err(),
        who.keep_hub_key(&foreign).await.unwrap_err(),
    ] {
        assert!(cause(&error).response_code().is_some());
        assert!(
            chain(&error).contains("not for this TPM"),
            "{}",
            chain(&error)
        );
    }
    still_signs_for_the_hub(&swtpm, &who, &kept).await;
}

#[tokio::test]
async fn a_key_that_is_too_long_for_a_tpm_is_an_error() {
    let swtpm = Swtpm::start();
    let who = with_hub_key(&swtpm).await;
    let kept = raw::persistent(&swtpm);
    // A TPM accepts HMAC keys up to the block size of SHA-256, 64 bytes.
    let error = who.keep_hub_key(&wrap(&who, &[3; 65])).await.unwrap_err();
    assert!(
        chain(&error).contains("TPM_RC_KEY_SIZE"),
        "{}",
        chain(&error)
    );
    still_signs_for_the_hub(&swtpm, &who, &kept).await;
}

#[tokio::test]
async fn a_key_pair_at_the_handle_of_the_hub_key_is_not_replaced() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let pair = who.tpm().key_pair().with_handle(PersistentHandle::HUB_KEY);
    pair.clone().create(KeyKind::P256).await.unwrap();

    let error = who.keep_hub_key(&wrap(&who, HUB_KEY)).await.unwrap_err();

    assert!(chain(&error).contains("0x81000100"), "{}", chain(&error));
    pair.open().await.unwrap();
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn the_key_of_a_challenge_is_not_stored_and_the_hub_key_is() {
    let mut swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let error = who.sign(b"data").await.unwrap_err();
    assert!(
        chain(&error).contains("register the device first"),
        "{}",
        chain(&error)
    );

    who.activate(&wrap(&who, CHALLENGE_KEY)).await.unwrap();
    assert_eq!(raw::persistent(&swtpm), [0x8100_0001, 0x8101_0001]);
    // The key is held encrypted in memory, so it survives a restart of the TPM.
    swtpm.restart();
    assert_eq!(
        who.sign(b"data").await.unwrap().0,
        hmac(CHALLENGE_KEY, b"data")
    );

    who.keep_hub_key(&wrap(&who, HUB_KEY)).await.unwrap();
    assert_eq!(
        raw::persistent(&swtpm),
        [0x8100_0001, 0x8100_0100, 0x8101_0001]
    );
    assert_eq!(who.sign(b"data").await.unwrap().0, hmac(HUB_KEY, b"data"));

    swtpm.restart();
    let next = attestation(&swtpm).await;
    assert_eq!(next.sign(b"data").await.unwrap().0, hmac(HUB_KEY, b"data"));
    next.keep_hub_key(&wrap(&next, &[5; 64])).await.unwrap();
    assert_eq!(next.sign(b"data").await.unwrap().0, hmac(&[5; 64], b"data"));
    assert!(raw::left_behind(&swtpm).is_empty());
}

async fn with_hub_key(swtpm: &Swtpm) -> TpmAttestation {
    let who = attestation(swtpm).await;
    who.keep_hub_key(&wrap(&who, HUB_KEY)).await.unwrap();
    who
}

async fn still_signs_for_the_hub(swtpm: &Swtpm, who: &TpmAttestation, kept: &[u32]) {
    assert!(raw::left_behind(swtpm).is_empty());
    assert_eq!(raw::persistent(swtpm), kept);
    let signature: Result<_, SignError> = who.tpm().hub_signer().sign(b"data").await;
    assert_eq!(signature.unwrap().0, hmac(HUB_KEY, b"data"));
    // The attestation still uses the hub key.
    assert_eq!(who.sign(b"data").await.unwrap().0, hmac(HUB_KEY, b"data"));
}
