//! A lost session is opened again, with its keys.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use dps_device::X509Attestation;
use dps_device::pkcs11::KeyKind;
use dps_hardware::SoftHsm;
use dps_types::enrollment::IndividualEnrollment;
use dps_types::sas::Sign;

use crate::authority::Authority;
use crate::setup::{Dps, TOKEN, TRANSPORTS, alone, alone_with_secret_keys, object, token};

/// The module of this process, initialized.
pub(crate) fn module() -> Pkcs11 {
    let module = Pkcs11::new(SoftHsm::module_in_use()).unwrap();
    // The crate under test may have done it.
    let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    module
}

/// The slot of the token.
pub(crate) fn slot(module: &Pkcs11) -> Option<Slot> {
    let slots = module.get_slots_with_token().unwrap();
    slots.into_iter().find(|slot| {
        let info = module.get_token_info(*slot).unwrap();
        info.token_initialized() && info.label() == TOKEN
    })
}

/// Initializes the token and its PIN, unless the module came with it.
pub(crate) fn initialize_token() {
    let module = module();
    if slot(&module).is_none() {
        let so_pin = AuthPin::from("93871264");
        let slots = module.get_slots_with_token().unwrap();
        let is_free = |slot: &&Slot| !module.get_token_info(**slot).unwrap().token_initialized();
        let free = *slots.iter().find(is_free).unwrap();
        module.init_token(free, &so_pin, TOKEN).unwrap();
        let slot = slot(&module).unwrap_or(free);
        let session = module.open_rw_session(slot).unwrap();
        // A token whose security officer has no PIN accepts an empty one.
        let login = session.login(UserType::So, Some(&so_pin));
        login
            .or_else(|_| session.login(UserType::So, Some(&AuthPin::from(""))))
            .unwrap();
        session.init_pin(&AuthPin::from(SoftHsm::PIN)).unwrap();
        session.logout().unwrap();
    }
    finalize();
}

/// Ends all sessions, logins and session objects, as removing and inserting the token does.
pub(crate) fn lose_all() {
    finalize();
    drop(module());
}

/// Finalizes the module, as other code in the process may do.
fn finalize() {
    let module = module();
    // Some modules count how often they were initialized.
    while module.clone().finalize().is_ok() {}
}

/// Logs out, as other code in the process may do: the session stays open, but the keys are not accessible.
pub(crate) fn log_out() {
    other_session().logout().unwrap();
}

/// Another session in this process, opened without the crate. The login of the process applies to it, or it has its own.
pub(crate) fn other_session() -> Session {
    let module = module();
    let session = module.open_rw_session(slot(&module).unwrap()).unwrap();
    if session.get_session_info().unwrap().session_state() == SessionState::RwPublic {
        let login = session.login(UserType::User, Some(&AuthPin::from(SoftHsm::PIN)));
        login.unwrap();
    }
    session
}

/// Removes all objects of a class from the token.
pub(crate) fn remove_all(class: ObjectClass) {
    let session = other_session();
    for object in session.find_objects(&[Attribute::Class(class)]).unwrap() {
        session.destroy_object(object).unwrap();
    }
}

/// Removes the object of a class with this label from the token.
pub(crate) fn remove_labelled(class: ObjectClass, label: &str) {
    let session = other_session();
    let template = [Attribute::Class(class), Attribute::Label(label.into())];
    let [object] = session.find_objects(&template).unwrap()[..] else {
        panic!("one {label}");
    };
    session.destroy_object(object).unwrap();
}

#[test]
fn a_secret_key_signs_after_a_lost_session() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        let (group, given) = token.generate_secret_key(&object("group")).await.unwrap();
        let id = "toaster".parse().unwrap();
        let device = group.device_key(&id).await.unwrap();
        for lose in [lose_all, log_out, finalize] {
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
        for (transport, lose) in TRANSPORTS.into_iter().zip([lose_all, log_out, finalize]) {
            lose();
            dps.register(device.clone(), transport).await;
        }
    });
}
