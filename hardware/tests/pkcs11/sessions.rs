//! A lost session is opened again, with its keys.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::Session;
use dps_device::X509Attestation;
use dps_device::pkcs11::KeyKind;
use dps_hardware::SoftHsm;
use dps_types::enrollment::IndividualEnrollment;
use dps_types::sas::Sign;

use crate::authority::Authority;
use crate::setup::{Dps, TRANSPORTS, alone, object, token};

/// Ends all sessions, logins and session objects, as removing and inserting the token does.
pub(crate) fn lose_all() {
    let module = Pkcs11::new(SoftHsm::module()).unwrap();
    module.clone().finalize().unwrap();
    let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    module.initialize(arguments).unwrap();
}

/// Logs out, as other code in the process may do: the session stays open, but the keys are not accessible.
fn log_out() {
    other_session().logout().unwrap();
}

/// Another session in this process, opened without the crate. The login of the process applies to it.
pub(crate) fn other_session() -> Session {
    let module = Pkcs11::new(SoftHsm::module()).unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    module.open_rw_session(slot).unwrap()
}

/// Removes all objects of a class from the token.
pub(crate) fn remove_all(class: ObjectClass) {
    let session = other_session();
    for object in session.find_objects(&[Attribute::Class(class)]).unwrap() {
        session.destroy_object(object).unwrap();
    }
}

#[test]
fn a_secret_key_signs_after_a_lost_session() {
    alone(|| async {
        let token = token().await;
        let (group, given) = token.generate_secret_key(&object("group")).await.unwrap();
        let id = "toaster".parse().unwrap();
        let device = group.device_key(&id).await.unwrap();
        for lose in [lose_all, log_out, lose_all] {
            lose();
            assert_eq!(group.sign(b"a").await.unwrap().0, given.hmac_sha256(b"a"));
            // The device key is derived again.
            let expected = given.derive_device_key(&id).hmac_sha256(b"b");
            assert_eq!(device.sign(b"b").await.unwrap().0, expected);
        }
    });
}

#[test]
fn a_private_key_signs_after_a_lost_session() {
    alone(|| async {
        let authority = Authority::new();
        let token = token().await;
        let key = token
            .generate_private_key(&object("toaster"), KeyKind::P256)
            .await
            .unwrap();
        let request = key.certificate_request(&"toaster".parse().unwrap()).await;
        let chain = authority.sign(&request.unwrap());
        let id = "toaster".parse().unwrap();
        let dps = Dps::start().await;
        dps.enroll(&IndividualEnrollment::client_certificate(
            id,
            chain.as_str(),
        ))
        .await;

        let device = X509Attestation::new(key.identity(chain).unwrap()).unwrap();
        for (transport, lose) in TRANSPORTS.into_iter().zip([lose_all, log_out, lose_all]) {
            lose();
            dps.register(device.clone(), transport).await;
        }
    });
}
