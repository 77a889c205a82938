//! PINs and keys are not shown in Debug, the log and errors.

use std::io::Write;
use std::sync::{Arc, Mutex};

use dps_device::pkcs11::{Pin, Token, Uri};
use dps_device::{SymmetricKey, SymmetricKeyAttestation};
use dps_hardware::SoftHsm;
use dps_types::enrollment::IndividualEnrollment;
use tracing_subscriber::fmt::MakeWriter;

use crate::secret_keys::hex;
use crate::setup::{Dps, TransportKind, alone_with_secret_keys, object, uri};

#[test]
fn no_pin_or_key_is_shown() {
    alone_with_secret_keys(|| async {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(log.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let mut shown = Vec::new();

        let key = SymmetricKey::generate();
        let uri = uri(&format!("pkcs11:token=device?pin-value={}", SoftHsm::PIN));
        let token = Token::open(&uri).await.unwrap();
        let secret = token.import_secret_key(&object("key"), &key).await.unwrap();
        let id = "toaster".parse().unwrap();
        let derived = secret.device_key(&id).await.unwrap();
        let device = SymmetricKeyAttestation::from_signer(id.clone(), secret.clone());
        shown.push(format!(
            "{uri:?} {uri} {token:?} {secret:?} {derived:?} {device:?} {:?}",
            Pin::new(SoftHsm::PIN)
        ));

        let dps = Dps::start().await;
        let enrolled = IndividualEnrollment::from_keys(id, &key, &SymmetricKey::generate());
        dps.enroll(&enrolled).await;
        dps.register(device, TransportKind::Http).await;
        drop((token, secret, derived));
        shown.push(failures(&uri).await);
        shown.push(log.text());
        assert!(log.text().contains("registration_id"), "the log is enabled");

        let text = shown.join("\n");
        let bytes = key.as_bytes();
        for secret in [
            SoftHsm::PIN,
            "wr0ng-p1n",
            &key.to_base64()[..12],
            &hex(bytes)[..12],
            &format!("{bytes:?}")[1..20],
        ] {
            assert!(!text.contains(secret), "{secret} is shown: {text}");
        }
    });
}

/// The texts of errors that concern a PIN.
async fn failures(right: &Uri) -> String {
    let mut shown = String::new();
    let device = uri("pkcs11:token=device");
    let wrong = Token::open_with_pin(&device, Pin::new("wr0ng-p1n")).await;
    let elsewhere = uri(&format!("pkcs11:token=other?pin-value={}", SoftHsm::PIN));
    let nowhere = right.clone().with_module_path("/nowhere.so");
    for error in [
        wrong.unwrap_err(),
        Token::open(&elsewhere).await.unwrap_err(),
        Token::open(&nowhere).await.unwrap_err(),
        format!("{right}?pin-value=wr0ng-p1n%")
            .parse::<Uri>()
            .unwrap_err(),
    ] {
        shown += &format!("{error:?} {error}\n");
    }
    shown
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
