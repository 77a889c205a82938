//! A TPM, or what is between it and the TSS, that answers with damaged responses.
//!
//! The mutations are the same in each run. `DPS_MUTATIONS=20000` runs more of them.

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dps_device::ErrorKind;
use dps_device::attestation::TpmKeys;
use dps_device::tpm::{KeyKind, NvIndex, Tpm, TpmAttestation, TpmOptions};
use dps_hardware::{Sender, Swtpm, TpmProxy};
use dps_types::sas::Sign;
use dps_types::tpm::AuthenticationKey;
use futures_util::future::join_all;

use crate::authority::Authority;
use crate::wrap::wrap;
use crate::{chain, open, raw};

/// The variable with the number of mutations.
const MUTATIONS: &str = "DPS_MUTATIONS";
const DEFAULT_MUTATIONS: u64 = 200;

/// SplitMix64: a new number for each call, the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// Damages a response: its bytes, a length in it, or its end. Returns false if there is not even a header.
    ///
    /// The header has the right length: the TSS would wait for the rest of a longer response, as for one that never comes.
    fn damage(&mut self, response: &mut Vec<u8>) -> bool {
        let at = self.below(response.len());
        match self.below(6) {
            0 => response[at] ^= 1 << self.below(8),
            1 => response[at] = 0xff,
            2 => response[at] = 0,
            3 => response.truncate(at),
            4 => {
                let more = self.below(5000);
                response.resize(response.len() + more, 0x41);
            }
            // A pair of bytes may be a length.
            _ => {
                for byte in response.iter_mut().skip(at).take(2) {
                    *byte = u8::try_from(self.below(256)).unwrap();
                }
            }
        }
        let length = u32::try_from(response.len()).unwrap().to_be_bytes();
        match response.get_mut(2..6) {
            Some(header) => header.copy_from_slice(&length),
            None => return false,
        }
        response.len() >= 10
    }
}

/// The operations of a device with its TPM.
async fn use_tpm(operation: usize, tpm: &Tpm, key: &AuthenticationKey) -> Result<(), String> {
    let text = |error: dps_device::Error| chain(&error);
    let sign_text = |error: dps_types::sas::SignError| chain(&error);
    match operation {
        0 => TpmAttestation::new(tpm).await.map(drop).map_err(text),
        1 => {
            let who = TpmAttestation::new(tpm).await.map_err(text)?;
            who.activate(key).await.map_err(sign_text)?;
            who.sign(b"data").await.map(drop).map_err(sign_text)
        }
        2 => tpm
            .hub_signer()
            .sign(b"data")
            .await
            .map(drop)
            .map_err(sign_text),
        3 => {
            let pair = tpm.key_pair().open().await.map_err(text)?;
            let identity = pair.stored_identity(&tpm.stored_chain()).await;
            identity.map(drop).map_err(text)
        }
        4 => {
            let index = NvIndex::RSA_ENDORSEMENT_CERTIFICATE;
            tpm.endorsement_certificate(index)
                .await
                .map(drop)
                .map_err(text)
        }
        _ => {
            let elsewhere = tpm
                .stored_chain()
                .with_index(NvIndex::new(0x0180_0200).unwrap());
            let chain = tpm.stored_chain().read().await.map_err(text)?;
            elsewhere.write(&chain[0]).await.map_err(text)?;
            elsewhere.remove().await.map_err(text)
        }
    }
}
const OPERATIONS: usize = 6;

/// A TPM with everything that the operations use.
async fn prepared() -> (Swtpm, AuthenticationKey) {
    let swtpm = Swtpm::manufactured();
    let tpm = open(&swtpm).await;
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let key = wrap(&who, &[7; 32]);
    who.keep_hub_key(&key).await.unwrap();
    let pair = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let device = "toaster-007".parse().unwrap();
    let request = pair.certificate_request(&device).await.unwrap();
    let issued = Authority::new().sign(&request);
    tpm.stored_chain().write(issued).await.unwrap();
    (swtpm, key)
}

#[tokio::test]
async fn a_tpm_that_cannot_be_reached_any_more_is_not_a_fault_of_the_options() {
    let swtpm = Swtpm::start();
    let (options, tpm) = (crate::options(&swtpm), open(&swtpm).await);
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    drop(swtpm);
    let id = "toaster-1".parse().unwrap();
    for error in [
        TpmAttestation::new(&tpm).await.unwrap_err(),
        tpm.key_pair().open().await.unwrap_err(),
        key.certificate_request(&id).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Signing, "{}", chain(&error));
    }
    let error = Tpm::open(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[tokio::test]
async fn a_damaged_response_is_an_error_and_nothing_else() {
    let mutations = env::var(MUTATIONS).ok().and_then(|text| text.parse().ok());
    let (swtpm, key) = prepared().await;
    // Counts the responses of each operation without damage.
    let mut responses = Vec::new();
    for operation in 0..OPERATIONS {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let proxy = TpmProxy::start(&swtpm, move |sender, _| {
            if sender == Sender::Tpm {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            true
        });
        attempt(&proxy, operation, &key).await.unwrap();
        responses.push(count.load(Ordering::SeqCst));
    }

    let mut errors = 0;
    for seed in 0..mutations.unwrap_or(DEFAULT_MUTATIONS) {
        let mut random = Random(seed);
        let operation = random.below(OPERATIONS);
        let mut left = random.below(responses[operation]) + 1;
        let proxy = TpmProxy::start(&swtpm, move |sender, message| {
            if sender == Sender::Program || left == 0 {
                return true;
            }
            left -= 1;
            left > 0 || random.damage(message)
        });
        let result = attempt(&proxy, operation, &key).await;
        drop(proxy);
        if let Err(text) = result {
            assert!(
                !text.contains("panicked") && !text.contains("did not answer"),
                "seed {seed}: {text}"
            );
            errors += 1;
        }
        // A response that was lost leaves its object in a TPM without a resource manager.
        raw::flush(&swtpm);
    }
    assert!(errors > 0);
    for operation in 0..OPERATIONS {
        use_tpm(operation, &open(&swtpm).await, &key).await.unwrap();
    }
    assert!(raw::left_behind(&swtpm).is_empty());
}

async fn attempt(
    proxy: &TpmProxy,
    operation: usize,
    key: &AuthenticationKey,
) -> Result<(), String> {
    let tpm = Tpm::open(TpmOptions::default().with_tcti(proxy.tcti().parse().unwrap())).await;
    use_tpm(operation, &tpm.map_err(|error| chain(&error))?, key).await
}

#[tokio::test]
async fn a_response_that_never_comes_ends_at_the_timeout() {
    let (swtpm, key) = prepared().await;
    let limit = Duration::from_secs(2);
    let silence = Silence::default();
    let mut proxies = Vec::new();
    for _ in 0..OPERATIONS {
        let shared = silence.clone();
        let proxy = TpmProxy::start(&swtpm, move |_, _| shared.passes());
        let tcti = proxy.tcti().parse().unwrap();
        let options = TpmOptions::default().with_tcti(tcti).with_timeout(limit);
        // A slow machine may need more than the limit.
        let tpm = loop {
            if let Ok(tpm) = Tpm::open(options.clone()).await {
                break tpm;
            }
        };
        proxies.push((proxy, tpm));
    }
    silence.begin();
    let uses = proxies.iter().enumerate();
    let uses = uses.map(|(operation, (_, tpm))| use_tpm(operation, tpm, &key));
    let results = join_all(uses).await;
    silence.end();
    for result in results {
        let text = result.unwrap_err();
        assert!(text.contains("did not answer within 2s"), "{text}");
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_during_a_use_is_not_a_fault_of_the_configuration() {
    let swtpm = Swtpm::start();
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let counter = left.clone();
    let proxy = TpmProxy::start(&swtpm, move |sender, _| {
        sender == Sender::Program || counter.fetch_sub(1, Ordering::SeqCst) > 1
    });
    let options = TpmOptions::default().with_tcti(proxy.tcti().parse().unwrap());
    let tpm = Tpm::open(options).await.unwrap();
    tpm.key_pair().create(KeyKind::P256).await.unwrap();
    for answers in [1, 2, 4] {
        left.store(answers, Ordering::SeqCst);
        let error = tpm.key_pair().open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Signing, "{}", chain(&error));
        assert!(
            chain(&error).contains("connection to the TPM failed"),
            "{}",
            chain(&error)
        );
    }
    left.store(usize::MAX, Ordering::SeqCst);
    tpm.key_pair().open().await.unwrap();
}

/// A TPM that stops to answer, shared by its proxies.
#[derive(Clone, Default)]
struct Silence(Arc<(Mutex<Phase>, Condvar)>);

#[derive(Default, PartialEq)]
enum Phase {
    #[default]
    Before,
    Silent,
    After,
}

impl Silence {
    fn begin(&self) {
        *self.0.0.lock().unwrap() = Phase::Silent;
    }

    fn end(&self) {
        *self.0.0.lock().unwrap() = Phase::After;
        self.0.1.notify_all();
    }

    /// Waits as long as the TPM is silent.
    fn passes(&self) -> bool {
        let (phase, ended) = &*self.0;
        let phase = phase.lock().unwrap();
        let phase = ended.wait_while(phase, |phase| *phase == Phase::Silent);
        *phase.unwrap() == Phase::Before
    }
}
