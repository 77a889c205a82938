//! Keys that another program created and that cannot be used: they are refused when they are looked up.

use std::slice::from_ref;

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::Attribute;
use dps_device::ErrorKind;

use crate::capabilities::has_size;
use crate::sessions::other_session;
use crate::setup::{alone, module, object, skipped_without_softhsm, token};

/// The object identifiers of P-256 and P-521, DER.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P521: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x23";
/// The object identifier of Ed25519, DER. Source: RFC 8410, 3.
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

#[test]
fn private_keys() {
    alone(|| async {
        let token = token().await;
        let sign = Attribute::Sign(true);
        let mut expected = Vec::new();
        if has_size(MechanismType::ECC_KEY_PAIR_GEN, 521) {
            let curve = [Attribute::EcParams(P521.to_vec())];
            make_pair("p521", &Mechanism::EccKeyPairGen, &curve, from_ref(&sign)).unwrap();
            expected.push(("p521", "on a curve other than P-256 and P-384"));
        }
        if has_size(MechanismType::RSA_PKCS_KEY_PAIR_GEN, 1024) {
            let size = [
                Attribute::ModulusBits(1024.into()),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ];
            make_pair(
                "small",
                &Mechanism::RsaPkcsKeyPairGen,
                &size,
                from_ref(&sign),
            )
            .unwrap();
            expected.push(("small", "has 1024 bits"));
        }
        let curve = [Attribute::EcParams(P256.to_vec())];
        let each_time = [sign, Attribute::AlwaysAuthenticate(true)];
        // Some modules have no such keys.
        if make_pair(
            "pin-each-time",
            &Mechanism::EccKeyPairGen,
            &curve,
            &each_time,
        )
        .is_ok()
        {
            expected.push(("pin-each-time", "CKA_ALWAYS_AUTHENTICATE"));
        } else {
            assert_ne!(module(), "softhsm");
        }
        if module() == "softhsm" {
            let curve = [Attribute::EcParams(ED25519.to_vec())];
            let mechanism = Mechanism::EccEdwardsKeyPairGen;
            make_pair("ed25519", &mechanism, &curve, &[Attribute::Sign(true)]).unwrap();
            expected.push(("ed25519", "Microsoft documents no support"));
        }
        for (label, reason) in expected {
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
        for (label, mechanism, sign, reason) in [
            (
                "aes",
                Mechanism::AesKeyGen,
                true,
                "CKR_KEY_TYPE_INCONSISTENT",
            ),
            (
                "no-sign",
                Mechanism::GenericSecretKeyGen,
                false,
                "CKR_KEY_FUNCTION_NOT_PERMITTED",
            ),
        ] {
            let template = [
                Attribute::Token(true),
                Attribute::Label(label.into()),
                Attribute::ValueLen(32.into()),
                Attribute::Sign(sign),
            ];
            if crate::capabilities::mechanism(mechanism.mechanism_type()).is_none() {
                continue;
            }
            // Some modules list the mechanism without the function.
            if other_session().generate_key(&mechanism, &template).is_err() {
                assert_ne!(module(), "softhsm");
                continue;
            }
            let Err(error) = token.secret_key(&object(label)).await else {
                // Some modules sign with a key of any type.
                assert_eq!((label, reason), ("aes", "CKR_KEY_TYPE_INCONSISTENT"));
                assert_ne!(module(), "softhsm");
                continue;
            };
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            let text = error.to_string();
            let is_softhsm = module() == "softhsm";
            assert!(
                text.contains(if is_softhsm { reason } else { "CKR_KEY_" }),
                "{text}"
            );
        }
    });
}

#[test]
fn keys_with_the_same_name_are_not_removed_together() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let token = token().await;
        let curve = [Attribute::EcParams(P256.to_vec())];
        for _ in 0..2 {
            let sign = [Attribute::Sign(true)];
            make_pair("twin", &Mechanism::EccKeyPairGen, &curve, &sign).unwrap();
        }
        let twin = object("twin");
        let error = token.remove_private_key(&twin).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        let text = error.to_string();
        assert!(text.contains("more than one private key"), "{text}");
        assert_eq!(token.private_keys(&twin).await.unwrap().len(), 2);
    });
}

fn make_pair(
    label: &str,
    mechanism: &Mechanism<'_>,
    public: &[Attribute],
    private: &[Attribute],
) -> cryptoki::error::Result<()> {
    let name = [
        Attribute::Token(true),
        Attribute::Label(label.into()),
        Attribute::Id(label.into()),
    ];
    let (public, private) = ([public, &name].concat(), [private, &name].concat());
    let made = other_session().generate_key_pair(mechanism, &public, &private);
    made.map(drop)
}
