//! The capabilities of the module of this process, as the module reports them.

use cryptoki::mechanism::{MechanismInfo, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::SessionState;
use dps_device::ErrorKind;
use dps_device::pkcs11::{KeyKind, Token};

use crate::sessions::{module, other_session, slot};
use crate::setup::object;

/// The description of a mechanism. `None` if the module does not support it.
pub(crate) fn mechanism(of: MechanismType) -> Option<MechanismInfo> {
    let module = module();
    let slot = slot(&module).unwrap();
    let all = module.get_mechanism_list(slot).unwrap();
    all.contains(&of)
        .then(|| module.get_mechanism_info(slot, of).unwrap())
}

/// Returns true if the mechanism supports keys of this many bits.
pub(crate) fn has_size(of: MechanismType, bits: usize) -> bool {
    mechanism(of).is_some_and(|info| (info.min_key_size()..=info.max_key_size()).contains(&bits))
}

/// Returns true if the module generates key pairs of this kind. If not, it must refuse to.
pub(crate) async fn generates(token: &Token, kind: KeyKind) -> bool {
    let (mechanism, bits) = match kind {
        KeyKind::P256 => (MechanismType::ECC_KEY_PAIR_GEN, 256),
        KeyKind::P384 => (MechanismType::ECC_KEY_PAIR_GEN, 384),
        KeyKind::Rsa2048 => (MechanismType::RSA_PKCS_KEY_PAIR_GEN, 2048),
        KeyKind::Rsa3072 => (MechanismType::RSA_PKCS_KEY_PAIR_GEN, 3072),
        _ => (MechanismType::RSA_PKCS_KEY_PAIR_GEN, 4096),
    };
    if has_size(mechanism, bits) {
        return true;
    }
    let refused = token.generate_private_key(&object("refused"), kind).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    false
}

/// Returns true if the module signs with HMAC-SHA256 and keys that are imported. If not, it must refuse them.
pub(crate) async fn signs_with_secret_keys(token: &Token) -> bool {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sign(true),
        Attribute::Value(vec![7; 32]),
    ];
    if mechanism(MechanismType::SHA256_HMAC).is_some()
        && other_session().create_object(&template).is_ok()
    {
        return true;
    }
    let refused = token.generate_secret_key(&object("refused")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    false
}

/// Returns true if each object of the token has a handle of its own, as the standard requires.
pub(crate) fn handles_are_unique() -> bool {
    let mut handles = other_session().find_objects(&[]).unwrap();
    let count = handles.len();
    handles.sort_by_key(ObjectHandle::handle);
    handles.dedup();
    handles.len() == count
}

/// Returns true if a login applies to all users of the module in the process, as the standard requires. The token is open.
pub(crate) fn logins_are_shared() -> bool {
    let module = module();
    let session = module.open_ro_session(slot(&module).unwrap()).unwrap();
    session.get_session_info().unwrap().session_state() == SessionState::RoUser
}
