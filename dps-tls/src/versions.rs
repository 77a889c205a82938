//! The versions of TLS for an identity.

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{SignatureScheme, SupportedProtocolVersion};

/// The signatures of RSA that only TLS 1.2 allows.
const PKCS1: [SignatureScheme; 3] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// Returns true if the key can sign a handshake of TLS 1.3, which has no PKCS#1 v1.5 signatures (RFC 8446, 4.2.3).
///
/// Some hardware has no other signatures for RSA. [`ClientTls`](crate::ClientTls) uses such an identity with TLS 1.2, because a client
/// that negotiated TLS 1.3 could not present its certificate.
pub fn signs_for_tls13(identity: &CertifiedKey) -> bool {
    let schemes: Vec<_> = ring::default_provider()
        .signature_verification_algorithms
        .supported_schemes()
        .into_iter()
        .filter(|scheme| !PKCS1.contains(scheme))
        .collect();
    identity.key.choose_scheme(&schemes).is_some()
}

pub(crate) fn versions(
    identity: Option<&CertifiedKey>,
) -> &'static [&'static SupportedProtocolVersion] {
    const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    const ONLY_TLS12: &[&SupportedProtocolVersion] = &[&TLS12];
    if identity.is_none_or(signs_for_tls13) {
        BOTH
    } else {
        ONLY_TLS12
    }
}
