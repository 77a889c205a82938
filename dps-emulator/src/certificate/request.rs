//! Reads a certificate signing request (PKCS#10, RFC 2986): its subject, and the public key whose private half signed it.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm,
};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5912::{RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1};
use x509_cert::request::CertReq;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::{PublicKey, Signed, name};

/// A certificate signing request that is signed with its own key.
#[derive(Debug)]
pub(crate) struct CertificateRequest {
    common_name: Option<String>,
    key: RequestedKey,
}

/// The public key of a request.
#[derive(Debug)]
pub(crate) struct RequestedKey {
    bytes: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

/// The reason for which a certificate signing request is not valid: a clause without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("it is not PKCS#10 in DER")]
    NotPkcs10,
    #[error("its key is neither RSA nor ECDSA on P-256 or P-384")]
    UnsupportedKey,
    #[error("it is not signed with its own key")]
    Signature,
}

impl CertificateRequest {
    /// Reads a request in DER, without anything after it, and verifies its signature.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let request = CertReq::from_der(der).map_err(|_| RequestError::NotPkcs10)?;
        let key = &request.info.public_key;
        let algorithm = algorithm(key).ok_or(RequestError::UnsupportedKey)?;
        let signed = Signed::from_der(der).ok_or(RequestError::NotPkcs10)?;
        if !PublicKey::new(key).is_some_and(|key| signed.is_by(&key)) {
            return Err(RequestError::Signature);
        }
        Ok(Self {
            common_name: name::common_name(&request.info.subject),
            key: RequestedKey {
                bytes: key.subject_public_key.raw_bytes().to_vec(),
                algorithm,
            },
        })
    }

    /// The subject's common name; the most specific one if there are several.
    pub(crate) fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    pub(crate) fn has_rsa_key(&self) -> bool {
        *self.key.algorithm == PKCS_RSA_SHA256
    }

    pub(crate) fn into_key(self) -> RequestedKey {
        self.key
    }
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

fn algorithm(key: &SubjectPublicKeyInfoOwned) -> Option<&'static SignatureAlgorithm> {
    if key.algorithm.oid == RSA_ENCRYPTION {
        return Some(&PKCS_RSA_SHA256);
    }
    let curve: ObjectIdentifier = key.algorithm.parameters.as_ref()?.decode_as().ok()?;
    match curve {
        SECP_256_R_1 => Some(&PKCS_ECDSA_P256_SHA256),
        SECP_384_R_1 => Some(&PKCS_ECDSA_P384_SHA384),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    /// `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=dev-1 -outform DER | base64`
    pub(super) const P256: &str = "MIHJMHICAQAwEDEOMAwGA1UEAwwFZGV2LTEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS82e6/jaUusre5bPNyuv74i0SXQw6qqeO7kVmNJm2Vt1Zrd2+J/zcwSrBr3jH+x8ZdApayNCn9mbDAcshfkthHoAAwCgYIKoZIzj0EAwIDRwAwRAIgAeJ6qpl1wJdfJEOJp1d+zMA6So2m6Dxb0/y0qPr9QxwCIFIFZzxuGfjQpCk5uDN6DkyXsd8rXN1f5Z6o1cIx+gWx";

    #[test]
    fn a_request_of_openssl_is_read() {
        let request = CertificateRequest::from_der(&STANDARD.decode(P256).unwrap()).unwrap();
        assert_eq!(request.common_name(), Some("dev-1"));
        assert!(!request.has_rsa_key());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert!(CertificateRequest::from_der(&bytes).is_err());
        }

        #[test]
        fn a_changed_byte_is_refused(at: prop::sample::Index, flip in 1..=255u8) {
            let mut der = STANDARD.decode(P256).unwrap();
            let at = at.index(der.len());
            der[at] ^= flip;
            prop_assert!(CertificateRequest::from_der(&der).is_err());
        }

        #[test]
        fn a_part_and_a_longer_text_are_refused(length: prop::sample::Index, more in 1..9usize) {
            let der = STANDARD.decode(P256).unwrap();
            prop_assert!(CertificateRequest::from_der(&der[..length.index(der.len())]).is_err());
            let longer = [&*der, &vec![0; more]].concat();
            prop_assert!(CertificateRequest::from_der(&longer).is_err());
        }
    }
}
