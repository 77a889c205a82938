//! The key of an enrollment group in the token, and the derived keys of its devices.

use cryptoki::object::{Attribute, ObjectClass};
use dps_device::{SymmetricKey, SymmetricKeyAttestation};
use dps_types::RegistrationId;
use dps_types::enrollment::EnrollmentGroup;
use dps_types::sas::Sign;

use crate::sessions::other_session;
use crate::setup::{Dps, TRANSPORTS, alone_with_secret_keys, object, token};

/// A group key, a registration id, and the derived device key. Source: azure-docs `iot-dps/how-to-legacy-device-symm-key.md`.
const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
const DEVICE: &str = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6";
const DEVICE_KEY: &str = "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=";

#[test]
fn a_device_key_matches_the_documentation() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        let key = SymmetricKey::from_base64(GROUP_KEY).unwrap();
        let group = token.import_secret_key(&object("group"), &key).await;
        let group = group.unwrap();
        let device: RegistrationId = DEVICE.parse().unwrap();

        let in_memory = group.device_key_in_memory(&device).await.unwrap();
        assert_eq!(*in_memory.to_base64(), DEVICE_KEY);

        let in_token = group.device_key(&device).await.unwrap();
        let expected = SymmetricKey::from_base64(DEVICE_KEY).unwrap();
        assert_eq!(
            in_token.sign(b"data").await.unwrap().0,
            expected.hmac_sha256(b"data")
        );
    });
}

#[test]
fn devices_of_a_group_register_with_keys_derived_in_the_token() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        let dps = Dps::start().await;
        let (group, given) = token.generate_secret_key(&object("group")).await.unwrap();
        let id = "toasters".parse().unwrap();
        let enrolled = EnrollmentGroup::from_keys(id, &given, &SymmetricKey::generate());
        dps.enroll_group(&enrolled).await;

        for (device, transport) in ["toaster-1", "toaster-2", "Toaster-3"]
            .iter()
            .zip(TRANSPORTS)
        {
            let id: RegistrationId = device.parse().unwrap();
            let key = group.device_key(&id).await.unwrap();
            dps.register(SymmetricKeyAttestation::from_signer(id, key), transport)
                .await;
        }
    });
}

#[test]
fn a_device_key_is_removed_from_the_token_with_its_last_clone() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        let group = token.generate_secret_key(&object("group")).await.unwrap().0;
        let device = "toaster".parse().unwrap();
        let key = group.device_key(&device).await.unwrap();
        let again = key.clone();
        drop(key);
        again.sign(b"data").await.unwrap();

        // Session objects are visible to the sessions with the same login.
        let visible = usize::from(crate::capabilities::logins_are_shared());
        assert_eq!(secret_keys(), 1 + visible);
        drop(again);
        assert_eq!(secret_keys(), 1);

        // Two keys of the same device are independent.
        let keys = [
            group.device_key(&device).await.unwrap(),
            group.device_key(&device).await.unwrap(),
        ];
        let [first, second] = keys;
        drop(first);
        second.sign(b"data").await.unwrap();
    });
}

fn secret_keys() -> usize {
    let template = [Attribute::Class(ObjectClass::SECRET_KEY)];
    other_session().find_objects(&template).unwrap().len()
}
