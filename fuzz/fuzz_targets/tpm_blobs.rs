//! The structures of TPM attestation: parsed as `authenticationKey` and as public key, and decrypted by the TPM in Rust.
#![no_main]

use std::future::Future as _;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use dps_device::attestation::TpmKeys as _;
use dps_hardware::SoftwareTpm;
use dps_types::tpm::{AuthenticationKey, TpmPublic};
use libfuzzer_sys::fuzz_target;

static TPM: LazyLock<SoftwareTpm> = LazyLock::new(SoftwareTpm::from_vector);

fuzz_target!(init: LazyLock::force(&TPM), |bytes: &[u8]| {
    if let Ok(key) = TpmPublic::parse(bytes) {
        assert_eq!(key.as_bytes(), bytes);
        assert_eq!(TpmPublic::from_base64(&key.to_base64()), Ok(key.clone()));
        let _ = (key.name(), key.default_registration_id());
    }
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = TpmPublic::from_base64(text);
        let _ = AuthenticationKey::from_base64(text);
    }
    if let Ok(key) = AuthenticationKey::parse(bytes) {
        assert!(bytes.starts_with(&key.to_bytes()));
        assert_eq!(
            AuthenticationKey::from_base64(&key.to_base64()),
            Ok(key.clone())
        );
        let mut opened = pin!(TPM.activate(&key));
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(opened) = opened.as_mut().poll(&mut context) else {
            panic!("a TPM in Rust is always ready");
        };
        assert_eq!(opened.is_ok(), TPM.challenge_key().is_some());
        TPM.restart();
    }
});
