//! A certificate authority with a fixed key, and the subjects of certificates, for the targets of `fuzz/`.

use std::time::UNIX_EPOCH;

use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::{CertificateAuthority, DAY, device_params, subject};
use crate::certificate::Certificate;

/// The head of a PKCS#8 key for Ed25519, whose signatures are not random. Source: RFC 8410, chapter 7.
const ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// A key that is the same in each run.
pub(crate) fn fixed_key() -> KeyPair {
    let pkcs8 = [ED25519, &[7; 32]].concat();
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8)).expect("a key")
}

/// An authority that is the same in each run.
pub fn authority() -> CertificateAuthority {
    CertificateAuthority::with_key("Fuzz", fixed_key()).expect("an authority")
}

/// Makes a certificate with these attributes as its subject. If they are accepted, checks that it can be read, and its common name.
pub fn check_subject(attributes: &[(&str, &str)]) {
    let Ok(subject) = subject::parse(attributes.iter().copied()) else {
        return;
    };
    let params = device_params(subject, UNIX_EPOCH..UNIX_EPOCH + DAY);
    let certificate = params.self_signed(&fixed_key()).expect("a certificate");
    let read = Certificate::from_der(certificate.into()).expect("it can be read");
    let common_name = attributes
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("CN"));
    if let Some((_, value)) = common_name {
        assert_eq!(read.common_name(), Some(*value));
    }
    let _ = (read.subject(), read.issuer());
}
