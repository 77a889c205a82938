//! Symmetric key attestation with a key that signs in the token.

use dps_device::pkcs11::SecretKey;
use dps_device::{SymmetricKey, SymmetricKeyAttestation};
use dps_types::enrollment::IndividualEnrollment;
use dps_types::sas::{SasTokenBuilder, Sign};

use crate::setup::{Dps, TRANSPORTS, alone_with_secret_keys, object, token};

#[test]
fn the_hmac_matches_the_rfc() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        // RFC 4231, test cases 1 and 4. HMAC pads a key with zeros, so a key that is padded to the 32 bytes that SoftHSM requires is
        // the same key.
        let counted: Vec<u8> = (1..=25).collect();
        for (label, key, data, expected) in [
            (
                "1",
                vec![0x0b; 20],
                b"Hi There".to_vec(),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                "4",
                counted,
                vec![0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
        ] {
            let mut key = key;
            key.resize(32, 0);
            let key = SymmetricKey::from_bytes(key).unwrap();
            let key = token.import_secret_key(&object(label), &key).await.unwrap();
            assert_eq!(hex(&key.sign(&data).await.unwrap().0), expected);
        }
    });
}

#[test]
fn a_sas_token_is_the_same_as_with_the_key_in_memory() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        let (key, given) = token.generate_secret_key(&object("key")).await.unwrap();
        let builder = || SasTokenBuilder::new("0ne00000A0A/registrations/toaster", 1_700_000_000);
        let made = builder().policy("registration").sign(&key).await.unwrap();
        assert!(made.verify(&given));
        assert_eq!(
            *made.reveal(),
            *builder().policy("registration").sign_with(&given).reveal()
        );
        assert_eq!(given.as_bytes().len(), 64);
    });
}

#[test]
fn a_device_registers_with_its_own_key() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        let dps = Dps::start().await;
        let uri = object("toaster");
        let (_, primary) = token.generate_secret_key(&uri).await.unwrap();
        let id = "toaster-0815".parse().unwrap();
        let enrolled = IndividualEnrollment::from_keys(id, &primary, &SymmetricKey::generate());
        dps.enroll(&enrolled).await;

        for transport in TRANSPORTS {
            // As after a restart, the device has only the name of the key.
            let key: SecretKey = token.secret_key(&uri).await.unwrap();
            let id = "toaster-0815".parse().unwrap();
            dps.register(SymmetricKeyAttestation::from_signer(id, key), transport)
                .await;
        }
    });
}

#[test]
fn a_secondary_key_in_the_token_is_used_after_the_primary() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        let dps = Dps::start().await;
        let old = token.generate_secret_key(&object("old")).await.unwrap().0;
        let (new, given) = token.generate_secret_key(&object("new")).await.unwrap();
        let id = "toaster-0815".parse().unwrap();
        let enrolled = IndividualEnrollment::from_keys(id, &SymmetricKey::generate(), &given);
        dps.enroll(&enrolled).await;

        for transport in TRANSPORTS {
            let id = "toaster-0815".parse().unwrap();
            let device = SymmetricKeyAttestation::from_signer(id, old.clone());
            dps.register(device.with_secondary(new.clone()), transport)
                .await;
        }
    });
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
