//! Attacks on the bus between the program and the TPM: reading it, changing what is transmitted, and answering in place of the TPM.

use std::sync::{Arc, Mutex};

use dps_device::ErrorKind;
use dps_device::attestation::TpmKeys;
use dps_device::tpm::{KeyKind, PcrBank, Tpm, TpmAttestation, TpmOptions};
use dps_hardware::{Sender, Swtpm, TpmProxy};
use dps_types::sas::Sign;
use dps_types::tpm::TpmPublic;
use sha2::{Digest as _, Sha256};

use crate::wrap::{hmac, wrap};
use crate::{attestation, cause, chain, open, raw, secret};

const OWNER: &[u8] = b"value of the owner hierarchy";
const ENDORSEMENT: &[u8] = b"value of the endorsement hierarchy";
const STORAGE: &[u8] = b"value of the storage root key";
const HUB_KEY: &[u8] = b"value of the hub key";
const KEY_PAIR: &[u8] = b"value of the key pair";
const KEY: &[u8] = &[0x5a; 32];
const DATA: &[u8] = b"data that the hub key signs";
/// The credential in the blobs of `wrap`, which encrypts the key.
const CREDENTIAL: &[u8] = &[0x11; 16];

// TCG, TPM Library, part 2, chapter 6.5.2.
const READ_PUBLIC: u32 = 0x0000_0173;
const GET_CAPABILITY: u32 = 0x0000_017a;
const HMAC: u32 = 0x0000_0155;
/// A part of the error for an expected endorsement key that is missing.
const NO_KEY: &str = "no endorsement key at 0x81010001";

#[tokio::test]
async fn no_secret_is_readable_on_the_bus_unless_encryption_is_off() {
    let secrets = [
        OWNER,
        ENDORSEMENT,
        STORAGE,
        HUB_KEY,
        KEY_PAIR,
        CREDENTIAL,
        DATA,
        &hmac(KEY, DATA),
    ];
    let readable = |recorded: &[u8]| secrets.map(|secret| contains(recorded, secret));

    let encrypted = everything_once(|options| options).await;
    let open = everything_once(TpmOptions::without_encryption).await;

    assert_eq!(readable(&encrypted), [false; 8]);
    assert_eq!(readable(&open), [true; 8]);
}

/// Uses every command that carries a secret, and returns what was transmitted.
async fn everything_once(change: impl FnOnce(TpmOptions) -> TpmOptions) -> Vec<u8> {
    let swtpm = Swtpm::start();
    swtpm.set_auth(raw::OWNER, OWNER);
    swtpm.set_auth(raw::ENDORSEMENT, ENDORSEMENT);
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&recorded);
    let proxy = TpmProxy::start(&swtpm, move |_, message| {
        recorder.lock().unwrap().extend_from_slice(message);
        true
    });
    let options = through(&proxy)
        .with_owner_auth(secret(OWNER))
        .with_endorsement_auth(secret(ENDORSEMENT))
        .with_storage_root_key_auth(secret(STORAGE))
        .with_hub_key_auth(secret(HUB_KEY));
    let tpm = Tpm::open(change(options)).await.unwrap();
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let blob = wrap(&who, KEY);
    who.activate(&blob).await.unwrap();
    assert_eq!(who.sign(DATA).await.unwrap().0, hmac(KEY, DATA));
    who.keep_hub_key(&blob).await.unwrap();
    let signed = tpm.hub_signer().sign(DATA).await.unwrap();
    assert_eq!(signed.0, hmac(KEY, DATA));
    let pair = tpm.key_pair().with_auth(secret(KEY_PAIR));
    pair.create(KeyKind::P256).await.unwrap();
    assert!(raw::left_behind(&swtpm).is_empty());
    recorded.lock().unwrap().clone()
}

/// A TPM without keys has a new key for each session. The numbers of some of these keys have leading zeros.
#[tokio::test]
async fn a_tpm_without_keys_has_encrypted_sessions() {
    let sessions =
        std::env::var("DPS_TPM_SESSIONS").map_or(5, |count| count.parse::<u32>().unwrap());
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    for _ in 0..sessions {
        tpm.measured_state(PcrBank::Sha256, [0]).await.unwrap();
    }
    assert!(raw::persistent(&swtpm).is_empty());
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn the_stored_keys_require_their_values() {
    let swtpm = Swtpm::start();
    let options = crate::options(&swtpm)
        .with_storage_root_key_auth(secret(STORAGE))
        .with_hub_key_auth(secret(HUB_KEY));
    let tpm = Tpm::open(options.clone()).await.unwrap();
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let blob = wrap(&who, KEY);
    who.keep_hub_key(&blob).await.unwrap();

    for (wrong, command) in [
        (
            options.clone().with_storage_root_key_auth(secret("")),
            "TPM2_ActivateCredential",
        ),
        (
            options.clone().with_hub_key_auth(secret("guess")),
            "TPM2_HMAC",
        ),
    ] {
        let tpm = Tpm::open(wrong).await.unwrap();
        let who = TpmAttestation::new(&tpm).await.unwrap();
        let error = match command {
            "TPM2_HMAC" => tpm.hub_signer().sign(DATA).await.map(drop),
            _ => who.activate(&blob).await,
        };
        let text = chain(&error.unwrap_err());
        assert!(
            text.contains(&format!("{command}: TPM_RC_BAD_AUTH")),
            "{text}"
        );
    }
    let signed = tpm.hub_signer().sign(DATA).await.unwrap();
    assert_eq!(signed.0, hmac(KEY, DATA));
    assert!(raw::left_behind(&swtpm).is_empty());
}

/// Changes one bit of one message.
#[derive(Default)]
struct Flip {
    /// The number of the message and of the byte.
    at: Option<(usize, usize)>,
    lengths: Vec<usize>,
}

#[tokio::test]
async fn a_changed_bit_never_leads_to_a_wrong_result() {
    let swtpm = Swtpm::start();
    let direct = attestation(&swtpm).await;
    direct.keep_hub_key(&wrap(&direct, &[1; 32])).await.unwrap();
    let blob = wrap(&direct, KEY);
    let flip = Arc::new(Mutex::new(Flip::default()));
    let changes = Arc::clone(&flip);
    let proxy = TpmProxy::start(&swtpm, move |_, message| {
        let mut flip = changes.lock().unwrap();
        if let Some((number, byte)) = flip.at
            && number == flip.lengths.len()
        {
            message[byte] ^= 1 << (byte % 8);
        }
        flip.lengths.push(message.len());
        true
    });
    let tpm = Tpm::open(through(&proxy)).await.unwrap();
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let start = |at| {
        *flip.lock().unwrap() = Flip {
            at,
            lengths: Vec::new(),
        };
    };
    start(None);
    who.activate(&blob).await.unwrap();
    let lengths = flip.lock().unwrap().lengths.clone();

    let mut refused = 0;
    let mut position = 0;
    for (number, length) in lengths.into_iter().enumerate() {
        for byte in 0..length {
            // Bytes 2 to 5 are the length: the proxy itself reads it, so that a change has no meaning here.
            position += 1;
            if position % 41 != 0 || (2..6).contains(&byte) {
                continue;
            }
            start(Some((number, byte)));
            match who.activate(&blob).await {
                Ok(()) => {
                    start(None);
                    assert_eq!(who.sign(DATA).await.unwrap().0, hmac(KEY, DATA));
                }
                Err(error) => {
                    cause(&error);
                    refused += 1;
                }
            }
            raw::flush(&swtpm);
        }
    }
    assert!(refused > 30, "{refused}");
    start(None);
    who.activate(&blob).await.unwrap();
}

#[tokio::test]
async fn the_error_for_a_changed_message_names_the_cause() {
    for (changed, expected) in [
        (Sender::Program, "changed on its way to the TPM"),
        (
            Sender::Tpm,
            "TSS2_ESYS_RC_RSP_AUTH_FAILED (0x7001b): the response was changed between the TPM and this program",
        ),
    ] {
        let swtpm = Swtpm::start();
        let direct = attestation(&swtpm).await;
        direct.keep_hub_key(&wrap(&direct, KEY)).await.unwrap();
        let mut command = 0;
        let proxy = TpmProxy::start(&swtpm, move |sender, message| {
            if sender == Sender::Program {
                command = word(message, 6);
            }
            if sender == changed && command == HMAC {
                // A byte of the encrypted parameter.
                let last = message.len() - 90;
                message[if sender == Sender::Tpm { 20 } else { last }] ^= 1;
            }
            true
        });
        let tpm = Tpm::open(through(&proxy)).await.unwrap();
        let error = tpm.hub_signer().sign(&[7; 200]).await.unwrap_err();
        assert!(chain(&error).contains(expected), "{}", chain(&error));
        cause(&error);
    }
}

#[tokio::test]
async fn without_encryption_each_use_compares_the_endorsement_key() {
    let (swtpm, other) = (Swtpm::start(), Swtpm::start());
    let who = attestation(&swtpm).await;
    who.keep_hub_key(&wrap(&who, KEY)).await.unwrap();
    who.tpm().key_pair().create(KeyKind::P256).await.unwrap();
    let stranger = attestation(&other).await.endorsement_key().clone();
    for (expected, is_refused) in [(who.endorsement_key().clone(), false), (stranger, true)] {
        let options = crate::options(&swtpm)
            .with_expected_endorsement_key(expected)
            .without_encryption();
        let tpm = Tpm::open(options).await.unwrap();
        let results = [
            tpm.hub_signer()
                .sign(DATA)
                .await
                .map(drop)
                .map_err(|error| chain(&error)),
            tpm.key_pair()
                .open()
                .await
                .map(drop)
                .map_err(|error| chain(&error)),
            tpm.key_pairs()
                .await
                .map(drop)
                .map_err(|error| chain(&error)),
            TpmAttestation::new(&tpm)
                .await
                .map(drop)
                .map_err(|error| chain(&error)),
        ];
        for result in results {
            match result {
                Ok(()) => assert!(!is_refused),
                Err(text) => {
                    assert!(is_refused, "{text}");
                    assert!(text.contains("presents another endorsement key"), "{text}");
                }
            }
        }
    }
    // A new TPM: only the attestation creates the key.
    let new = Swtpm::start();
    let options = crate::options(&new)
        .with_expected_endorsement_key(who.endorsement_key().clone())
        .without_encryption();
    let tpm = Tpm::open(options).await.unwrap();
    let error = tpm.key_pair().create(KeyKind::P256).await.unwrap_err();
    assert!(
        chain(&error).contains("presents no endorsement key"),
        "{}",
        chain(&error)
    );
    let error = TpmAttestation::new(&tpm).await.unwrap_err();
    assert!(
        chain(&error).contains("presents another endorsement key"),
        "{}",
        chain(&error)
    );
    assert!(raw::persistent(&new).is_empty());
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn another_endorsement_key_than_the_expected_one_is_refused() {
    let (swtpm, other) = (Swtpm::start(), Swtpm::start());
    let who = attestation(&swtpm).await;
    who.keep_hub_key(&wrap(&who, KEY)).await.unwrap();
    let expected = who.endorsement_key().clone();
    let stranger = attestation(&other).await.endorsement_key().clone();

    let right = Tpm::open(crate::options(&swtpm).with_expected_endorsement_key(expected))
        .await
        .unwrap();
    let who = TpmAttestation::new(&right).await.unwrap();
    who.activate(&wrap(&who, KEY)).await.unwrap();
    let signed = right.hub_signer().sign(DATA).await.unwrap();
    assert_eq!(signed.0, hmac(KEY, DATA));

    let sent = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&sent);
    let proxy = TpmProxy::start(&swtpm, move |sender, message| {
        if sender == Sender::Program {
            recorder.lock().unwrap().push(word(message, 6));
        }
        true
    });
    let wrong = through(&proxy)
        .with_owner_auth(secret(OWNER))
        .with_expected_endorsement_key(stranger);
    let wrong = Tpm::open(wrong).await.unwrap();
    let error = TpmAttestation::new(&wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    let unsigned = wrong.hub_signer().sign(DATA).await.unwrap_err();
    for text in [chain(&error), chain(&unsigned)] {
        assert!(text.contains("another endorsement key"), "{text}");
    }
    // Nothing that depends on a secret was sent.
    let sent = sent.lock().unwrap();
    assert!(
        sent.iter()
            .all(|code| [GET_CAPABILITY, READ_PUBLIC].contains(code)),
        "{sent:x?}"
    );
}

#[tokio::test]
async fn a_new_tpm_with_another_endorsement_key_is_refused() {
    let (swtpm, other) = (Swtpm::start(), Swtpm::start());
    let stranger = attestation(&other).await.endorsement_key().clone();
    let options = crate::options(&swtpm).with_expected_endorsement_key(stranger);
    let tpm = Tpm::open(options).await.unwrap();

    let error = TpmAttestation::new(&tpm).await.unwrap_err();

    let text = chain(&error);
    assert!(text.contains("another endorsement key"), "{text}");
    // The key was compared before it was stored, which requires the value of the owner.
    assert!(raw::persistent(&swtpm).is_empty());
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn the_expected_endorsement_key_is_created_before_other_keys() {
    let swtpm = Swtpm::start();
    let expected = attestation(&swtpm).await.endorsement_key().clone();
    raw::clear(&swtpm);
    let options = crate::options(&swtpm).with_expected_endorsement_key(expected.clone());
    let tpm = Tpm::open(options).await.unwrap();

    let error = tpm.key_pair().create(KeyKind::P256).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(chain(&error).contains(NO_KEY), "{}", chain(&error));
    assert!(raw::persistent(&swtpm).is_empty());

    let who = TpmAttestation::new(&tpm).await.unwrap();
    assert_eq!(*who.endorsement_key(), expected);
    tpm.key_pair().create(KeyKind::P256).await.unwrap();
    assert!(raw::left_behind(&swtpm).is_empty());
}

/// The interposer hides the endorsement key, so that the program would encrypt the salt to another key.
#[tokio::test]
async fn a_hidden_endorsement_key_is_refused() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    who.keep_hub_key(&wrap(&who, KEY)).await.unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&sent);
    let proxy = TpmProxy::start(&swtpm, move |sender, message| {
        match sender {
            Sender::Program => recorder.lock().unwrap().push(word(message, 6)),
            // The list of handles begins with the next one.
            Sender::Tpm => {
                replace(
                    message,
                    &[0x81, 0x01, 0x00, 0x01],
                    &[0x81, 0x01, 0x00, 0x02],
                );
            }
        }
        true
    });
    let options = through(&proxy).with_expected_endorsement_key(who.endorsement_key().clone());
    let tpm = Tpm::open(options).await.unwrap();

    let unsigned = tpm.hub_signer().sign(DATA).await.unwrap_err();
    let uncreated = tpm.key_pair().create(KeyKind::P256).await.unwrap_err();

    for text in [chain(&unsigned), chain(&uncreated)] {
        assert!(text.contains(NO_KEY), "{text}");
    }
    // Nothing that depends on a secret was sent.
    let sent = sent.lock().unwrap();
    assert!(
        sent.iter()
            .all(|code| [GET_CAPABILITY, READ_PUBLIC].contains(code)),
        "{sent:x?}"
    );
}

/// The interposer presents a key whose private part it has, so that it could read the salt.
#[tokio::test]
async fn a_key_that_the_bus_replaces_is_refused() {
    let (swtpm, other) = (Swtpm::start(), Swtpm::start());
    let who = attestation(&swtpm).await;
    who.keep_hub_key(&wrap(&who, KEY)).await.unwrap();
    let foreign = attestation(&other).await;
    let keys = [
        // The endorsement key, with and without the name that belongs to it.
        (who.endorsement_key(), foreign.endorsement_key(), true),
        (who.endorsement_key(), foreign.endorsement_key(), false),
        (who.storage_root_key(), foreign.storage_root_key(), true),
    ];
    for (genuine, foreign, renames) in keys {
        let replaced = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&replaced);
        let (old, new) = (genuine.clone(), foreign.clone());
        let proxy = TpmProxy::start(&swtpm, move |_, message| {
            if replace(message, old.area(), new.area()) {
                *counter.lock().unwrap() += 1;
                if renames {
                    assert!(replace(message, &old.name(), &name(&new)));
                }
            }
            true
        });
        let options = through(&proxy).with_expected_endorsement_key(who.endorsement_key().clone());
        let tpm = Tpm::open(options).await.unwrap();

        let refused = TpmAttestation::new(&tpm).await.unwrap_err();

        cause(&refused);
        let text = chain(&refused);
        assert!(*replaced.lock().unwrap() > 0, "{text}");
        // A genuine name does not help: the public area is compared.
        let is_endorsement_key = genuine == who.endorsement_key();
        assert_eq!(
            text.contains("another endorsement key"),
            is_endorsement_key,
            "{text}"
        );
        raw::flush(&swtpm);
    }
    open(&swtpm).await.hub_signer().sign(DATA).await.unwrap();
}

fn through(proxy: &TpmProxy) -> TpmOptions {
    TpmOptions::default().with_tcti(proxy.tcti().parse().unwrap())
}

fn name(key: &TpmPublic) -> [u8; 34] {
    let mut name = [0; 34];
    name[1] = 0x0b;
    name[2..].copy_from_slice(&Sha256::digest(key.area()));
    name
}

fn word(message: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*message[at..].first_chunk().unwrap())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) -> bool {
    match bytes.windows(old.len()).position(|window| window == old) {
        Some(at) => {
            bytes[at..at + old.len()].copy_from_slice(new);
            true
        }
        None => false,
    }
}
