//! The readers of the attributes of objects, for the targets of `fuzz/`. Compiled only with `--cfg fuzzing`, which `cargo fuzz` sets.

use super::super::device_key::KeyAlgorithm;
use super::object::{Class, Selector};
use super::{attributes, public_key};

/// The public key of CKA_EC_PARAMS and CKA_EC_POINT.
pub fn ec_key(curve: &[u8], point: &[u8]) -> Option<Vec<u8>> {
    attributes::ec_key(curve, point).ok()
}

/// The public key of CKA_MODULUS and CKA_PUBLIC_EXPONENT.
pub fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    attributes::rsa_key(modulus, exponent).ok()
}

/// The public key of a certificate's CKA_VALUE.
pub fn key_of_certificate(value: &[u8]) -> Option<Vec<u8>> {
    public_key::of_certificate(&value.into()).ok()
}

/// Returns true if the kind of this public key is supported.
pub fn is_supported(public_key: &[u8]) -> bool {
    KeyAlgorithm::of(public_key).is_some()
}

/// A key with this label and id in an error message.
pub fn shown(label: &[u8], id: &[u8]) -> String {
    Selector {
        class: Class::PrivateKey,
        label: String::from_utf8(label.to_vec()).ok(),
        id: Some(id.to_vec()),
    }
    .to_string()
}
