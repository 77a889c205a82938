//! Tokens that have not every mechanism, as many have not.

use dps_device::ErrorKind;
use dps_device::pkcs11::KeyKind;
use dps_hardware::SoftHsm;
use rustls::version::{TLS12, TLS13};

use crate::handshakes::{Device, PKCS1, PSS};
use crate::world::{TOKEN, object, token, with};

/// SoftHSM 2.6.1 takes a list of what there is to be at its word, and leaves the first of what there is not to be in.
fn only(mechanisms: &str) -> SoftHsm {
    let lines = format!("slots.mechanisms = {mechanisms}");
    SoftHsm::configured(&lines).with_token(TOKEN)
}

#[test]
fn a_token_that_hashes_itself_signs_with_rsa() {
    let hashes = "CKM_RSA_PKCS_KEY_PAIR_GEN,\
        CKM_SHA256_RSA_PKCS,CKM_SHA384_RSA_PKCS,CKM_SHA512_RSA_PKCS,\
        CKM_SHA256_RSA_PKCS_PSS,CKM_SHA384_RSA_PKCS_PSS,CKM_SHA512_RSA_PKCS_PSS";
    with(
        || only(hashes),
        || async {
            let device = Device::new(KeyKind::Rsa2048).await;
            for scheme in PKCS1 {
                device.is_known_with(&TLS12, &[scheme]);
            }
            for scheme in PSS {
                device.is_known_with(&TLS13, &[scheme]);
            }
        },
    );
}

#[test]
fn a_token_without_pss_signs_as_it_can() {
    with(
        || only("CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS"),
        || async {
            let device = Device::new(KeyKind::Rsa2048).await;
            device.is_known_with(&TLS12, &[PSS, PKCS1].concat());
        },
    );
}

#[test]
fn a_token_without_ecdsa_is_found_at_set_up() {
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
                "the PKCS#11 token has no mechanism to sign with a key of this kind (P256)"
            );
        },
    );
}

#[test]
fn a_token_without_hmac_is_found_at_set_up() {
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
