//! TPMs: challenges that were changed, cut off or replaced on their way, and other spellings of an endorsement key. Over each transport
//! that has TPM attestation.

use std::sync::Mutex;

use base64::Engine as _;
use base64::alphabet::{STANDARD as STANDARD_ALPHABET, URL_SAFE as URL_SAFE_ALPHABET};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, PAD, STANDARD};
use dps_device::attestation::TpmKeys;
use dps_hardware::SoftwareTpm;
use dps_types::tpm::AuthenticationKey;
use serde_json::json;

use super::tpm_attempt::{Keys, TRANSPORTS, registers};
use crate::common::{Dps, Sas, tpm_enrollment};

/// The names of the parts of a challenge.
const PARTS: [&str; 5] = [
    "credential",
    "secret of the credential",
    "key",
    "seed of the key",
    "public area of the key",
];

fn token(id: &str, key: &[u8]) -> String {
    Sas::device("0ne00000001", id).sign(&STANDARD.encode(key))
}

/// The token of a TPM that has received this challenge: signed with the key of the last challenge that it has opened, or with zeros.
async fn answer(tpm: &SoftwareTpm, challenge: &AuthenticationKey) -> String {
    // A TPM that cannot open the challenge has the key of an earlier one.
    let _ = tpm.activate(challenge).await;
    let key = tpm.challenge_key().unwrap_or_else(|| vec![0; 32]);
    token("dev-1", &key)
}

fn parts(challenge: &AuthenticationKey) -> [Vec<u8>; 6] {
    [
        challenge.credential(),
        challenge.credential_secret(),
        challenge.duplicate(),
        challenge.duplicate_seed(),
        challenge.public_area(),
        challenge.uri_data(),
    ]
    .map(<[u8]>::to_vec)
}

/// Challenges that can be made from a challenge and from an earlier one of the same device: each part changed, cut off, or
/// exchanged.
fn altered(
    challenge: &AuthenticationKey,
    earlier: &AuthenticationKey,
) -> Vec<(String, AuthenticationKey)> {
    let mut all = vec![("an earlier challenge".to_owned(), earlier.clone())];
    let (new, old) = (parts(challenge), parts(earlier));
    for (index, name) in PARTS.into_iter().enumerate() {
        let last = new[index].len() - 1;
        let with = |part: Vec<u8>| {
            let mut altered = new.clone();
            altered[index] = part;
            AuthenticationKey::new(altered).expect("no part is empty")
        };
        let flipped = |at: usize| {
            let mut part = new[index].clone();
            part[at] ^= 1;
            with(part)
        };
        all.extend([
            (format!("another first byte of the {name}"), flipped(0)),
            (format!("another last byte of the {name}"), flipped(last)),
            (
                format!("the {name} without its last byte"),
                with(new[index][..last].to_vec()),
            ),
            (
                format!("the first byte of the {name}"),
                with(new[index][..1].to_vec()),
            ),
            (
                format!("the {name} with a byte after it"),
                with([&new[index][..], b"\0"].concat()),
            ),
            (
                format!("the {name} of an earlier challenge"),
                with(old[index].clone()),
            ),
        ]);
    }
    // Without the seed there is no outer wrapper.
    let mut bare = new.clone();
    bare[3].clear();
    let bare = AuthenticationKey::new(bare).expect("the seed may be empty");
    all.push(("no seed of the key".to_owned(), bare));
    all
}

/// A challenge of the device itself that was altered on its way. The TPM refuses it, or has the key of another challenge.
#[tokio::test]
async fn no_altered_challenge_leads_to_a_registration() {
    let dps = Dps::start().await;
    let tpm = SoftwareTpm::number(1);
    dps.create("/enrollments/dev-1", &tpm_enrollment("dev-1", &tpm))
        .await;
    let keys = Keys::of(&tpm, &tpm);
    for transport in TRANSPORTS {
        let earlier = Mutex::new(None);
        let keeps = async |challenge: &AuthenticationKey| {
            *earlier.lock().expect("no panic before") = Some(challenge.clone());
            token("dev-1", &[0; 32])
        };
        assert!(!registers(&dps, transport, "dev-1", &keys, keeps).await);
        let earlier = earlier.into_inner().expect("no panic before");
        let earlier = earlier.expect("a challenge");
        // Each attempt has a challenge of its own.
        let count = altered(&earlier, &earlier).len();
        for index in 0..count {
            let name = Mutex::new(String::new());
            let alters = async |challenge: &AuthenticationKey| {
                let mut all = altered(challenge, &earlier);
                let (alteration, challenge) = all.swap_remove(index);
                *name.lock().expect("no panic before") = alteration;
                answer(&tpm, &challenge).await
            };
            let accepted = registers(&dps, transport, "dev-1", &keys, alters).await;
            assert!(!accepted, "{name:?} over {transport}");
        }
    }
    assert_eq!(dps.get("/registrations/dev-1").await.status, 404);
    for transport in TRANSPORTS {
        let genuine = async |challenge: &AuthenticationKey| answer(&tpm, challenge).await;
        let accepted = registers(&dps, transport, "dev-1", &keys, genuine).await;
        assert!(accepted, "{transport}");
    }
}

/// The attacker requests a challenge for its own TPM at the same time, under either id, and mixes the two.
#[tokio::test]
async fn no_challenge_of_another_device_leads_to_a_registration() {
    let dps = Dps::start().await;
    let [victim, thief] = [1, 2].map(SoftwareTpm::number);
    for (id, tpm) in [("dev-1", &victim), ("dev-2", &thief)] {
        dps.create(&format!("/enrollments/{id}"), &tpm_enrollment(id, tpm))
            .await;
    }
    let (of_victim, of_thief) = (Keys::of(&victim, &victim), Keys::of(&thief, &thief));
    for transport in TRANSPORTS {
        for id in ["dev-1", "dev-2"] {
            // The challenge of the thief is open while the challenge of the victim is answered.
            let own = Mutex::new(None);
            let keeps = async |challenge: &AuthenticationKey| {
                *own.lock().expect("no panic before") = Some(challenge.clone());
                token(id, &[0; 32])
            };
            assert!(!registers(&dps, transport, id, &of_thief, keeps).await);
            let own = own.into_inner().expect("no panic before");
            let own = own.expect("a challenge");
            let count = altered(&own, &own).len();
            for index in 0..count {
                let mixes = async |challenge: &AuthenticationKey| {
                    let (_, mixed) = altered(&own, challenge).swap_remove(index);
                    answer(&thief, &mixed).await
                };
                let accepted = registers(&dps, transport, "dev-1", &of_victim, mixes).await;
                assert!(!accepted, "{index} under {id} over {transport}");
            }
            let unchanged = async |_: &AuthenticationKey| answer(&thief, &own).await;
            let accepted = registers(&dps, transport, "dev-1", &of_victim, unchanged).await;
            assert!(!accepted, "the own challenge under {id} over {transport}");
        }
    }
    assert_eq!(dps.get("/registrations/dev-1").await.status, 404);
}

/// Other spellings of the same bytes in base64, and whether they are base64 as .NET reads it: white space is ignored.
fn spellings(key: &str) -> Vec<(&'static str, String, bool)> {
    let bytes = STANDARD.decode(key).expect("base64");
    let url_safe = GeneralPurpose::new(&URL_SAFE_ALPHABET, PAD).encode(&bytes);
    assert_ne!(url_safe, key);
    let unpadded = GeneralPurpose::new(&STANDARD_ALPHABET, NO_PAD).encode(&bytes);
    assert_eq!(key.len(), unpadded.len() + 2);
    // The last character before the padding has four bits that mean nothing.
    let (start, last) = unpadded.split_at(unpadded.len() - 1);
    let alphabet = STANDARD_ALPHABET.as_str();
    let place = alphabet.find(last).expect("in the alphabet");
    assert_eq!(place % 16, 0);
    let trailing = format!("{start}{}==", &alphabet[place + 1..place + 2]);
    vec![
        ("no padding", unpadded.clone(), false),
        ("half of the padding", format!("{unpadded}="), false),
        ("more padding", format!("{key}===="), false),
        ("the URL-safe alphabet", url_safe, false),
        ("trailing bits", trailing, false),
        ("text after the padding", format!("{key}AA=="), false),
        ("a zero byte after it", format!("{key}\0"), false),
        ("a no-break space", format!("\u{a0}{key}"), false),
        ("hexadecimal digits", hex(&bytes), false),
        ("space around it", format!(" {key}\r\n"), true),
        (
            "lines of 64 characters",
            key.as_bytes()
                .chunks(64)
                .map(|line| std::str::from_utf8(line).expect("ASCII"))
                .collect::<Vec<_>>()
                .join("\r\n"),
            true,
        ),
        (
            "a tab after each character",
            key.chars().flat_map(|letter| [letter, '\t']).collect(),
            true,
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A device presents the endorsement key of the enrollment in another spelling.
#[tokio::test]
async fn no_spelling_of_an_endorsement_key_registers_another_tpm() {
    let dps = Dps::start().await;
    let [victim, thief] = [1, 2].map(SoftwareTpm::number);
    dps.create("/enrollments/dev-1", &tpm_enrollment("dev-1", &victim))
        .await;
    for (name, endorsement, is_base64) in spellings(&Keys::of(&victim, &victim).endorsement) {
        let storage_root_key = Keys::of(&victim, &thief).storage;
        let keys = Keys {
            endorsement: endorsement.clone(),
            storage: storage_root_key,
        };
        let opens = async |challenge: &AuthenticationKey| answer(&thief, challenge).await;
        // Only HTTPS carries the key as text.
        let accepted = registers(&dps, "HTTPS", "dev-1", &keys, opens).await;
        assert!(!accepted, "{name}");

        let keys = Keys {
            endorsement,
            storage: Keys::of(&victim, &victim).storage,
        };
        let own = async |challenge: &AuthenticationKey| answer(&victim, challenge).await;
        let accepted = registers(&dps, "HTTPS", "dev-1", &keys, own).await;
        assert_eq!(accepted, is_base64, "{name}: the device itself");
    }
}

/// An operator enrolls the endorsement key in another spelling. The enrollment is for the TPM with this key, and for no other.
#[tokio::test]
async fn an_enrollment_in_another_spelling_is_for_the_same_tpm_only() {
    let dps = Dps::start().await;
    let [victim, thief] = [1, 2].map(SoftwareTpm::number);
    let (of_victim, of_thief) = (Keys::of(&victim, &victim), Keys::of(&thief, &thief));
    for (name, endorsement, is_base64) in spellings(&of_victim.endorsement) {
        let mut document = tpm_enrollment("dev-1", &victim);
        document["attestation"]["tpm"]["endorsementKey"] = json!(endorsement);
        let created = dps.put("/enrollments/dev-1", &document).await;
        if !is_base64 {
            assert_eq!(created.status, 400, "{name}: {created:?}");
            continue;
        }
        assert_eq!(created.status, 200, "{name}: {created:?}");
        for transport in TRANSPORTS {
            let opens = async |challenge: &AuthenticationKey| answer(&thief, challenge).await;
            for keys in [&of_thief, &of_victim] {
                let accepted = registers(&dps, transport, "dev-1", keys, opens).await;
                assert!(!accepted, "{name} over {transport}");
            }
            let own = async |challenge: &AuthenticationKey| answer(&victim, challenge).await;
            let accepted = registers(&dps, transport, "dev-1", &of_victim, own).await;
            assert!(accepted, "{name}: the device itself over {transport}");
        }
        assert_eq!(dps.delete("/enrollments/dev-1").await.status, 204);
    }
}
