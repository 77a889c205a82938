//! Authorization values and keys are not shown in Debug, logs and errors.

use std::io;
use std::sync::{Arc, Mutex};

use dps_device::attestation::TpmKeys;
use dps_device::tpm::{KeyKind, Tpm, TpmAttestation};
use dps_hardware::Swtpm;
use dps_types::sas::Sign;
use tracing_subscriber::fmt::MakeWriter;

use crate::{chain, options, raw, secret, wrap};

const OWNER: &str = "hunter2-owner";
const ENDORSEMENT: &str = "hunter2-endorsement";
const PAIR: &str = "hunter2-pair";
const STORAGE: &str = "hunter2-storage";
const HUB: &str = "hunter2-hub";
const KEY: &[u8] = b"hunter2-hmac-key-of-32-bytes-ok!";

#[tokio::test]
async fn no_secret_is_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // Global, because the TPM is used on other threads.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let swtpm = Swtpm::start();
    swtpm.set_auth(raw::OWNER, OWNER.as_bytes());
    swtpm.set_auth(raw::ENDORSEMENT, ENDORSEMENT.as_bytes());
    let options = options(&swtpm)
        .with_owner_auth(secret(OWNER))
        .with_endorsement_auth(secret(ENDORSEMENT))
        .with_storage_root_key_auth(secret(STORAGE))
        .with_hub_key_auth(secret(HUB));
    let tpm = Tpm::open(options.clone()).await.unwrap();
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let blob = wrap::wrap(&who, KEY);
    who.activate(&blob).await.unwrap();
    who.sign(b"data").await.unwrap();
    who.keep_hub_key(&blob).await.unwrap();
    let pair = tpm.key_pair().with_auth(secret(PAIR));
    let key = pair.clone().create(KeyKind::P256).await.unwrap();

    let refused = Tpm::open(options.clone().with_owner_auth(secret("hunter2-wrong")))
        .await
        .unwrap();
    let refused = TpmAttestation::new(&refused)
        .await
        .unwrap()
        .keep_hub_key(&blob)
        .await;
    let refused = refused.unwrap_err();
    let unopened = tpm
        .key_pair()
        .with_auth(secret("hunter2-wrong"))
        .open()
        .await
        .unwrap_err();

    let mut shown = vec![
        format!(
            "{options:?} {tpm:?} {who:?} {blob:?} {pair:?} {key:?} {:?}",
            tpm.hub_signer()
        ),
        format!(
            "{refused:?} {} {unopened:?} {}",
            chain(&refused),
            chain(&unopened)
        ),
    ];
    shown.push(log.text());
    assert!(shown[2].contains("a key was created"), "{}", shown[2]);
    let inner = "17, 17, 17, 17";
    let bytes = KEY.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    for text in shown {
        for secret in ["hunter2", inner, &bytes] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// Collects the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
