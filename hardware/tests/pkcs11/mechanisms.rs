//! Tokens that support only some mechanisms, like many real tokens.

use dps_device::ErrorKind;
use dps_device::pkcs11::KeyKind;
use dps_hardware::SoftHsm;
use rustls::version::{TLS12, TLS13};

use crate::handshakes::{Device, PKCS1, PSS};
use crate::setup::{TOKEN, object, token, with};

/// A SoftHSM with these mechanisms only. A list of disabled mechanisms would not work: SoftHSM 2.6.1 ignores its first entry.
fn only(mechanisms: &str) -> SoftHsm {
    let lines = format!("slots.mechanisms = {mechanisms}");
    SoftHsm::configured(&lines).with_token(TOKEN)
}

#[test]
fn a_token_that_hashes_the_message_signs_with_rsa() {
    let hashes = "CKM_RSA_PKCS_KEY_PAIR_GEN,\
        CKM_SHA256_RSA_PKCS,CKM_SHA384_RSA_PKCS,CKM_SHA512_RSA_PKCS,\
        CKM_SHA256_RSA_PKCS_PSS,CKM_SHA384_RSA_PKCS_PSS,CKM_SHA512_RSA_PKCS_PSS";
    with(
        || only(hashes),
        || async {
            let device = Device::new(KeyKind::Rsa2048).await;
            for scheme in PKCS1 {
                device.connects_with(&TLS12, &[scheme]);
            }
            for scheme in PSS {
                device.connects_with(&TLS13, &[scheme]);
            }
        },
    );
}

#[test]
fn a_token_without_pss_signs_with_pkcs1() {
    with(
        || only("CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS"),
        || async {
            let device = Device::new(KeyKind::Rsa2048).await;
            device.connects_with(&TLS12, &[PSS, PKCS1].concat());
        },
    );
}

#[test]
fn a_token_without_ecdsa_is_detected_at_setup() {
    with(
        || only("CKM_EC_KEY_PAIR_GEN"),
        || async {
            let token = token().await;
            let key = token
                .generate_private_key(&object("key"), KeyKind::P256)
                .await;
            let error = key.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert_eq!(
                error.to_string(),
                "the PKCS#11 token has no signature mechanism for this kind of key (P256)"
            );
        },
    );
}

#[test]
fn a_token_without_hmac_is_detected_at_setup() {
    with(
        || only("CKM_ECDSA"),
        || async {
            let token = token().await;
            let key = token.generate_secret_key(&object("key")).await;
            let error = key.unwrap_err();
            assert!(
                error.to_string().contains("CKR_MECHANISM_INVALID"),
                "{error}"
            );
        },
    );
}
