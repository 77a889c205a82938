//! A TPM whose memory for persistent objects is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dps_device::ErrorKind;
use dps_device::attestation::TpmKeys;
use dps_device::tpm::{Tpm, TpmAttestation, TpmOptions};
use dps_hardware::{Sender, Swtpm, TpmProxy};
use dps_types::sas::Sign;

use crate::wrap::{hmac, wrap};
use crate::{attestation, cause, chain, open, raw};

const HUB_KEY: u32 = 0x8100_0100;
const SPARE: u32 = 0x8100_0102;

#[tokio::test]
async fn a_hub_key_is_replaced_without_the_spare() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    who.keep_hub_key(&wrap(&who, &[1; 32])).await.unwrap();
    raw::fill_memory(&swtpm);
    let before = raw::persistent(&swtpm);

    for key in [[2; 32], [3; 32]] {
        who.keep_hub_key(&wrap(&who, &key)).await.unwrap();
        let signed = who.tpm().hub_signer().sign(b"data").await.unwrap();
        assert_eq!(signed.0, hmac(&key, b"data"));
    }
    assert_eq!(raw::persistent(&swtpm), before);
    assert!(before.contains(&HUB_KEY) && !before.contains(&SPARE));
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn the_first_hub_key_needs_space() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    raw::fill_memory(&swtpm);
    let error = who.keep_hub_key(&wrap(&who, &[1; 32])).await.unwrap_err();
    assert_eq!(cause(&error).response_code(), Some(0x14b));
    assert!(chain(&error).contains("no space"), "{}", chain(&error));
    let pair = who.tpm().key_pair().create(dps_device::tpm::KeyKind::P256);
    let error = pair.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert_eq!(cause(&error).response_code(), Some(0x14b));
    assert!(raw::left_behind(&swtpm).is_empty());
}

/// Without space for both keys there is a moment without one. The next registration stores a key again.
#[tokio::test]
async fn after_a_power_failure_the_next_registration_stores_a_key() {
    let mut swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let keys = [[1; 32], [2; 32]];
    who.keep_hub_key(&wrap(&who, &keys[0])).await.unwrap();
    raw::fill_memory(&swtpm);

    // The commands that change persistent objects: the attempt at the spare, the removal, the new key.
    for changes in 1..=3 {
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen);
        let mut is_change = false;
        let proxy = TpmProxy::start(&swtpm, move |sender, message| {
            const EVICT_CONTROL: [u8; 4] = [0, 0, 1, 0x20];
            match sender {
                Sender::Program => is_change = message[6..10] == EVICT_CONTROL,
                Sender::Tpm if is_change => {
                    return counter.fetch_add(1, Ordering::SeqCst) + 1 < changes;
                }
                Sender::Tpm => {}
            }
            // Without power it does nothing more.
            counter.load(Ordering::SeqCst) < changes
        });
        let options = TpmOptions::default().with_tcti(proxy.tcti().parse().unwrap());
        let tpm = Tpm::open(options).await.unwrap();
        let behind = TpmAttestation::new(&tpm).await.unwrap();
        behind
            .keep_hub_key(&wrap(&who, &keys[1]))
            .await
            .unwrap_err();
        assert_eq!(seen.load(Ordering::SeqCst), changes);
        drop(proxy);
        swtpm.restart();

        let signed = open(&swtpm).await.hub_signer().sign(b"data").await;
        match (changes, signed) {
            (1, Ok(signed)) => assert_eq!(signed.0, hmac(&keys[0], b"data")),
            (2, Err(error)) => {
                assert!(
                    chain(&error).contains("register the device first"),
                    "{}",
                    chain(&error)
                );
            }
            (3, Ok(signed)) => assert_eq!(signed.0, hmac(&keys[1], b"data")),
            (_, other) => panic!("{changes}: {other:?}"),
        }
        let who = attestation(&swtpm).await;
        who.keep_hub_key(&wrap(&who, &keys[0])).await.unwrap();
        let signed = who.tpm().hub_signer().sign(b"data").await.unwrap();
        assert_eq!(signed.0, hmac(&keys[0], b"data"));
        assert!(!raw::persistent(&swtpm).contains(&SPARE));
    }
}
