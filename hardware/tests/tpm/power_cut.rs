//! A TPM that loses power while it replaces a hub key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dps_device::attestation::TpmKeys;
use dps_device::certificate::{KeyKind, KeySource, TpmKeySource};
use dps_device::tpm::{NvProblem, PersistentHandle, Tpm, TpmAttestation, TpmOptions};
use dps_hardware::{Sender, Swtpm, TpmProxy};
use dps_tls::read_chain;
use dps_types::sas::Sign;

use crate::stored_chain::issued;
use crate::{attestation, cause, chain, open, raw};

const HUB_KEY: u32 = 0x8100_0100;
const SPARE: u32 = 0x8100_0102;

/// A TPM that loses power when this number of commands has been carried out. The last one has no answer.
fn loses_power(swtpm: &Swtpm, left: &Arc<AtomicUsize>) -> TpmProxy {
    let left = Arc::clone(left);
    TpmProxy::start(swtpm, move |sender, _| match sender {
        Sender::Program => left.load(Ordering::SeqCst) != 0,
        Sender::Tpm => left.fetch_sub(1, Ordering::SeqCst) != 1,
    })
}

async fn signature(tpm: &Tpm) -> [u8; 32] {
    tpm.hub_signer().sign(b"data").await.unwrap().0
}

#[tokio::test]
async fn a_power_failure_at_any_command_leaves_a_hub_key() {
    let mut swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let keys = [[0x5a; 64], [0x5b; 64]].map(|key| crate::wrap::wrap(&who, &key));
    let mut signatures = Vec::new();
    for key in &keys {
        who.keep_hub_key(key).await.unwrap();
        signatures.push(signature(who.tpm()).await);
    }
    assert_ne!(signatures[0], signatures[1]);

    let mut was_kept = [false; 2];
    for commands in 1.. {
        who.keep_hub_key(&keys[0]).await.unwrap();
        assert_eq!(signature(who.tpm()).await, signatures[0]);
        assert!(!raw::persistent(&swtpm).contains(&SPARE));

        let left = Arc::new(AtomicUsize::new(commands));
        let proxy = loses_power(&swtpm, &left);
        let options = TpmOptions::default().with_tcti(proxy.tcti().parse().unwrap());
        let replaced = match Tpm::open(options).await {
            Ok(tpm) => match TpmAttestation::new(&tpm).await {
                Ok(who) => who.keep_hub_key(&keys[1]).await.is_ok(),
                Err(_) => false,
            },
            Err(_) => false,
        };
        let lost_power = left.load(Ordering::SeqCst) == 0;
        drop(proxy);
        swtpm.restart();

        let found = signature(&open(&swtpm).await).await;
        let kept = signatures.iter().position(|signature| *signature == found);
        was_kept[kept.expect("one of the two keys")] = true;
        if replaced {
            assert_eq!(kept, Some(1));
            assert!(commands > 10, "{commands}");
            break;
        }
        assert!(lost_power, "{commands}");
    }
    // The next registration replaces what was left.
    who.keep_hub_key(&keys[0]).await.unwrap();
    assert_eq!(was_kept, [true; 2]);
    let objects = raw::persistent(&swtpm);
    assert!(
        objects.contains(&HUB_KEY) && !objects.contains(&SPARE),
        "{objects:x?}"
    );
}

#[tokio::test]
async fn a_power_failure_while_a_key_pair_is_replaced_leaves_the_other_one_and_its_place_can_be_used_again()
 {
    let mut swtpm = Swtpm::start();
    let keys = |tpm| {
        let handles = [0x8100_0201, 0x8100_0202];
        let handles = handles.map(|handle| PersistentHandle::new(handle).unwrap());
        TpmKeySource::new(tpm, handles, KeyKind::P256).unwrap()
    };
    let source = keys(open(&swtpm).await);
    let (first, key) = source.generate(&[]).await.unwrap();
    let (second, mut other) = source.generate(&[&first]).await.unwrap();
    for commands in 1.. {
        let left = Arc::new(AtomicUsize::new(commands));
        let proxy = loses_power(&swtpm, &left);
        let options = TpmOptions::default().with_tcti(proxy.tcti().parse().unwrap());
        let replaced = match Tpm::open(options).await {
            Ok(tpm) => keys(tpm).generate(&[&first]).await.is_ok(),
            Err(_) => false,
        };
        let lost_power = left.load(Ordering::SeqCst) == 0;
        drop(proxy);
        swtpm.restart();

        let kept = source.open(&first).await.unwrap();
        assert_eq!(kept.public_key(), key.public_key());
        if replaced {
            assert!(commands > 10, "{commands}");
            break;
        }
        assert!(lost_power, "{commands}");
        if let Ok(found) = source.open(&second).await
            && found.public_key() != other.public_key()
        {
            // The new key was stored, and only the answer was lost.
            other = found;
        }
    }
    let (again, new) = source.generate(&[&first]).await.unwrap();
    assert_eq!(again, second);
    assert_ne!(new.public_key(), other.public_key());
    let objects = raw::persistent(&swtpm);
    assert_eq!(objects, [0x8100_0001, 0x8100_0201, 0x8100_0202]);
}

#[tokio::test]
async fn a_power_failure_while_a_chain_is_written_leaves_an_index_that_can_be_used_again() {
    let mut swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    // More than a TPM writes at once.
    let long = issued(&key).await.repeat(2);
    let expected = read_chain(long.as_bytes()).unwrap();
    assert!(expected.iter().map(|der| der.len()).sum::<usize>() > 1024);
    let stored = tpm.stored_chain();
    let (mut commands, mut incomplete, mut was_written) = (0, 0, false);
    while !was_written {
        commands += 1;
        for is_removed_first in [false, true] {
            let left = Arc::new(AtomicUsize::new(commands));
            let proxy = loses_power(&swtpm, &left);
            let options = TpmOptions::default().with_tcti(proxy.tcti().parse().unwrap());
            was_written = match Tpm::open(options).await {
                Ok(tpm) => tpm.stored_chain().write(&long).await.is_ok(),
                Err(_) => false,
            };
            drop(proxy);
            swtpm.restart();

            match stored.read().await {
                Ok(found) => assert_eq!(found, expected),
                Err(error) => {
                    let text = chain(&error);
                    let problem = cause(&error).nv_problem();
                    let problem = problem.unwrap_or_else(|| panic!("{text}"));
                    assert!(
                        [NvProblem::NotFound, NvProblem::Blank].contains(&problem),
                        "{text}"
                    );
                    incomplete += usize::from(text.contains("not completed"));
                }
            }
            stored.check_writable(1200).await.unwrap();
            if is_removed_first {
                stored.remove().await.unwrap();
                assert!(raw::indices(&swtpm).is_empty());
            }
            stored.write(&long).await.unwrap();
            assert_eq!(stored.read().await.unwrap(), expected);
            stored.remove().await.unwrap();
        }
    }
    assert_eq!(
        incomplete, 2,
        "one number of commands lies between the two parts"
    );
    assert!(raw::left_behind(&swtpm).is_empty());
}
