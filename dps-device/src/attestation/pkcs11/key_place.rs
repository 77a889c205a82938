//! The place of a key: how each new session finds it, and the attributes of a secret key that is put into the token.

use cryptoki::object::{Attribute, KeyType, ObjectClass};
use zeroize::Zeroize;

use super::object::Selector;

/// The place of a key, which stays valid when a session is lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum KeyPlace {
    Stored(Selector),
    /// The HMAC of the text under another key.
    Derived {
        from: Box<Self>,
        text: String,
    },
}

/// The attributes of a secret key that signs and cannot be extracted.
pub(super) fn sensitive_key(key: &[u8], in_token: bool) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(in_token),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Value(key.to_vec()),
    ]
}

/// Wipes the key in its attributes.
pub(super) fn wipe(template: &mut [Attribute]) {
    for attribute in template {
        if let Attribute::Value(value) = attribute {
            value.zeroize();
        }
    }
}
