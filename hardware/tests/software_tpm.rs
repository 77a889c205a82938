//! The TPM in Rust opens recorded keys, and refuses what a real TPM refuses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use dps_device::Attestation;
use dps_device::attestation::{Proof, TpmKeys};
use dps_hardware::{SoftwareTpm, vector};
use dps_types::sas::Sign;
use dps_types::tpm::AuthenticationKey;
use serde_json::Value;

fn challenge() -> AuthenticationKey {
    AuthenticationKey::from_base64(&vector::challenge()).unwrap()
}

fn wrapped_hub_key() -> AuthenticationKey {
    AuthenticationKey::from_base64(&vector::wrapped_hub_key()).unwrap()
}

#[test]
fn the_public_keys_match_the_vector() {
    let tpm = SoftwareTpm::from_vector();
    let vector = vector::fixture();
    assert_eq!(tpm.endorsement_key().to_base64(), vector["endorsementKey"]);
    assert_eq!(tpm.storage_root_key().to_base64(), vector["storageRootKey"]);
    assert_eq!(
        tpm.attestation().registration_id().as_str(),
        "yixbxlepajhnmlpxo6p4terr2mqhsdglig4e67oz7wpha7eshv2a"
    );
    assert!(matches!(tpm.attestation().proof(), Proof::Tpm(_)));
}

#[tokio::test]
async fn it_opens_the_vector_and_signs_with_the_key() {
    let tpm = SoftwareTpm::from_vector();
    tpm.activate(&challenge()).await.unwrap();
    assert_eq!(tpm.challenge_key(), Some(vector::challenge_key()));
    assert_eq!(tpm.hub_key(), None);

    let signature = tpm.sign(b"0ne00000001%2fregistrations%2fdev1\n1700000000");
    let expected = b"\xa4\x08\x81\x7e\x1d\x61\xf0\x87\x48\xe8\x31\xc3\x3d\xa2\x42\x3a\
                     \x54\x4f\x20\x92\x4a\x50\x95\xd2\x43\x17\x6b\xab\x2a\x8d\x34\x46";
    assert_eq!(&signature.await.unwrap().0, expected);
}

/// The fixture is a copy of the recording, and must not differ from it.
#[test]
fn the_fixture_matches_the_recording() {
    let shared = std::env::var_os("DPS_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let path = shared.join("recordings/tpm-authentication-key-vector.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        // Written to stderr directly, because the test harness hides the output of a passing test.
        let words = format!("SKIPPED: no {}; set DPS_SHARED\n", path.display());
        std::io::stderr().write_all(words.as_bytes()).unwrap();
        return;
    };
    let recorded: Value = serde_json::from_str(&text).unwrap();
    for (name, value) in vector::fixture().as_object().unwrap() {
        // The hub key is not part of the recording.
        if !name.starts_with("hub_") {
            assert_eq!(&recorded[name], value, "{name}");
        }
    }
}

#[tokio::test]
async fn a_hub_key_replaces_the_key_of_the_challenge_and_survives_a_restart() {
    let tpm = SoftwareTpm::from_vector();
    assert!(tpm.sign(b"data").await.is_err());

    tpm.activate(&challenge()).await.unwrap();
    let by_challenge = tpm.sign(b"data").await.unwrap().0;
    tpm.keep_hub_key(&wrapped_hub_key()).await.unwrap();
    let by_hub_key = tpm.sign(b"data").await.unwrap().0;
    assert_ne!(by_challenge, by_hub_key);
    assert_eq!(
        (tpm.challenge_key(), tpm.hub_key()),
        (None, Some(vector::hub_key()))
    );

    tpm.activate(&challenge()).await.unwrap();
    assert_eq!(tpm.sign(b"data").await.unwrap().0, by_challenge);
    assert_eq!(tpm.hub_key(), Some(vector::hub_key()));
    tpm.restart();
    assert_eq!(tpm.sign(b"data").await.unwrap().0, by_hub_key);
}

#[tokio::test]
async fn a_modified_key_changes_nothing() {
    let tpm = SoftwareTpm::from_vector();
    tpm.activate(&challenge()).await.unwrap();
    let hub_key = wrapped_hub_key();
    let parts = [
        hub_key.credential(),
        hub_key.credential_secret(),
        hub_key.duplicate(),
        hub_key.duplicate_seed(),
        hub_key.public_area(),
    ]
    .map(<[u8]>::to_vec);
    let make = |changed: &[Vec<u8>; 5]| {
        let [a, b, c, d, e] = changed.clone();
        AuthenticationKey::new([a, b, c, d, e, Vec::new()]).unwrap()
    };
    let mut tampered = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        for position in [0, 1, 2, 3, 34, part.len() / 2, part.len() - 1] {
            let mut changed = parts.clone();
            changed[number][position] ^= 1;
            tampered.push((format!("bit {position} of part {number}"), make(&changed)));
        }
        let mut shorter = parts.clone();
        shorter[number].pop();
        tampered.push((format!("part {number} shorter"), make(&shorter)));
        let mut longer = parts.clone();
        longer[number].push(0);
        tampered.push((format!("part {number} longer"), make(&longer)));
    }
    let mut without_seed = parts.clone();
    without_seed[3].clear();
    tampered.push(("no seed".to_owned(), make(&without_seed)));

    for (what, key) in tampered {
        assert!(tpm.activate(&key).await.is_err(), "{what}");
        assert!(tpm.keep_hub_key(&key).await.is_err(), "{what}");
        assert_eq!(tpm.challenge_key(), Some(vector::challenge_key()), "{what}");
        assert_eq!(tpm.hub_key(), None, "{what}");
    }
}

#[tokio::test]
async fn another_tpm_cannot_open_the_key() {
    let mut keys = Vec::new();
    for number in 1..SoftwareTpm::COUNT {
        let tpm = SoftwareTpm::number(number);
        let error = tpm.activate(&challenge()).await.unwrap_err();
        assert_eq!(error.to_string(), "a seed is not encrypted to this TPM");
        keys.push(tpm.endorsement_key().to_base64());
        keys.push(tpm.storage_root_key().to_base64());
    }
    keys.sort();
    keys.dedup();
    assert_eq!(
        keys.len(),
        2 * (SoftwareTpm::COUNT - 1),
        "all keys are different"
    );
}

#[tokio::test]
async fn debug_shows_no_key() {
    let tpm = SoftwareTpm::from_vector();
    tpm.activate(&challenge()).await.unwrap();
    assert_eq!(format!("{tpm:?}"), "SoftwareTpm(..)");
}
