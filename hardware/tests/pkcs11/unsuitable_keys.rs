//! Keys that another program created and that cannot be used: they are refused when they are looked up.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use dps_device::ErrorKind;

use crate::sessions::other_session;
use crate::setup::{alone, object, token};

/// The object identifiers of P-256 and P-521, DER.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P521: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x23";

#[test]
fn private_keys() {
    alone(|| async {
        let token = token().await;
        make_pair(
            "p521",
            &Mechanism::EccKeyPairGen,
            &[Attribute::EcParams(P521.to_vec())],
            &[Attribute::Sign(true)],
        );
        make_pair(
            "small",
            &Mechanism::RsaPkcsKeyPairGen,
            &[
                Attribute::ModulusBits(1024.into()),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ],
            &[Attribute::Sign(true)],
        );
        make_pair(
            "pin-each-time",
            &Mechanism::EccKeyPairGen,
            &[Attribute::EcParams(P256.to_vec())],
            &[Attribute::Sign(true), Attribute::AlwaysAuthenticate(true)],
        );
        for (label, reason) in [
            ("p521", "on a curve other than P-256 and P-384"),
            ("small", "has 1024 bits"),
            ("pin-each-time", "CKA_ALWAYS_AUTHENTICATE"),
        ] {
            let error = token.private_key(&object(label)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(reason), "{error}");
        }
    });
}

#[test]
fn secret_keys() {
    alone(|| async {
        let token = token().await;
        for (label, mechanism, sign) in [
            ("aes", Mechanism::AesKeyGen, true),
            ("no-sign", Mechanism::GenericSecretKeyGen, false),
        ] {
            let template = [
                Attribute::Token(true),
                Attribute::Label(label.into()),
                Attribute::ValueLen(32.into()),
                Attribute::Sign(sign),
            ];
            other_session().generate_key(&mechanism, &template).unwrap();
        }
        for (label, reason) in [
            ("aes", "CKR_KEY_TYPE_INCONSISTENT"),
            ("no-sign", "CKR_KEY_FUNCTION_NOT_PERMITTED"),
        ] {
            let error = token.secret_key(&object(label)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(reason), "{error}");
        }
    });
}

fn make_pair(label: &str, mechanism: &Mechanism<'_>, public: &[Attribute], private: &[Attribute]) {
    let name = [
        Attribute::Token(true),
        Attribute::Label(label.into()),
        Attribute::Id(label.into()),
    ];
    other_session()
        .generate_key_pair(
            mechanism,
            &[public, &name].concat(),
            &[private, &name].concat(),
        )
        .unwrap();
}
