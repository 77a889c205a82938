//! The stored keys and the names of certificate authorities, for the targets of `fuzz/`.

use std::time::UNIX_EPOCH;

use super::{IssuingAuthority, Keys, Level, encode};
use crate::certificate::Certificate;
use crate::issuer::DAY;
use crate::issuer::fuzzing::fixed_key;

/// Reads the stored keys of an authority. If they are accepted, checks that they are stored as the same keys.
pub(crate) fn check_keys(bytes: &[u8]) {
    let config: IssuingAuthority = "contoso/factory-1/all".parse().expect("valid");
    let Ok(keys) = Keys::read(bytes, &config.name) else {
        return;
    };
    let stored = encode(&keys.root, &keys.intermediate).expect("keys can be stored");
    let again = Keys::read(&stored, &config.name).expect("stored keys can be read");
    let again = encode(&again.root, &again.intermediate).expect("keys can be stored");
    assert!(again == stored, "stored keys are read unchanged");
}

/// Reads the text of a certificate authority. If it is accepted, checks that its names are valid in its certificates.
pub fn check_authority(text: &str) {
    let Ok(config) = text.parse::<IssuingAuthority>() else {
        return;
    };
    let again: IssuingAuthority = config.to_string().parse().expect("a written text");
    assert_eq!(again, config);
    for level in [Level::Root, Level::Intermediate] {
        let params = level.params(&config.name, UNIX_EPOCH..UNIX_EPOCH + DAY);
        let params = params.expect("the names are valid");
        let certificate = params.self_signed(&fixed_key()).expect("a certificate");
        let read = Certificate::from_der(certificate.into()).expect("it can be read");
        assert_eq!(read.common_name(), Some(config.name.authority.as_str()));
    }
}
