//! A request for a certificate: a new key pair, and the PKCS#10 document that it signed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dps_types::RegistrationId;

use super::key_pair::KeyPair;
use crate::error::Error;

/// A request for a certificate, PKCS#10. The common name of its subject is the registration id.
///
/// Use a new key pair for each certificate. DPS documents P-384 and is known to accept P-256; it refuses RSA.
///
/// ```no_run
/// # async fn request() -> Result<(), Box<dyn std::error::Error>> {
/// use dps_device::certificate::{CertificateRequest, KeyKind, KeyPair};
///
/// let request = CertificateRequest::new("toaster-1".parse()?, KeyPair::generate(KeyKind::P256)?).await?;
/// # drop(request);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CertificateRequest {
    registration_id: RegistrationId,
    key: KeyPair,
    der: Vec<u8>,
}

impl CertificateRequest {
    /// Creates a request of this device and signs it with the key, in the hardware that holds it.
    ///
    /// # Errors
    /// [`ErrorKind::Signing`](crate::ErrorKind::Signing) if the key cannot sign.
    pub async fn new(
        registration_id: RegistrationId,
        key: impl Into<KeyPair>,
    ) -> Result<Self, Error> {
        let key = key.into();
        let der = key.request(&registration_id).await?;
        Ok(Self {
            registration_id,
            key,
            der,
        })
    }

    /// The registration id.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    /// The key pair.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The request, PKCS#10 in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The request as the member `csr` of a registration has it: DER in base64, without PEM lines.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.der)
    }
}

impl fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateRequest")
            .field("registration_id", &self.registration_id)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rustls::SignatureScheme;
    use x509_cert::der::{Decode, Encode};
    use x509_cert::request::CertReq;

    use super::super::key_pair::KeyPair;
    use super::super::{CertificateRequest, KeyKind};
    use crate::ErrorKind;
    use crate::attestation::key_encoding::verifies;

    #[tokio::test]
    async fn the_request_has_the_registration_id_and_the_public_key_and_is_signed() {
        for (kind, scheme) in [
            (KeyKind::P256, SignatureScheme::ECDSA_NISTP256_SHA256),
            (KeyKind::P384, SignatureScheme::ECDSA_NISTP384_SHA384),
        ] {
            let key = KeyPair::generate(kind).unwrap();
            let request = CertificateRequest::new("Toaster:0815".parse().unwrap(), key.clone())
                .await
                .unwrap();
            let read = CertReq::from_der(request.der()).unwrap();
            assert_eq!(read.info.subject.to_string(), "CN=Toaster:0815");
            assert_eq!(read.info.public_key.to_der().unwrap(), key.public_key());
            let (signed, signature) = (read.info.to_der().unwrap(), read.signature.raw_bytes());
            assert!(verifies(key.public_key(), scheme, &signed, signature));
            assert!(request.to_base64().starts_with("MI"));
        }
    }

    #[test]
    fn an_rsa_key_is_refused() {
        let error = KeyPair::generate(KeyKind::Rsa2048).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert!(error.to_string().contains("P-256 and P-384"), "{error}");
    }

    #[tokio::test]
    async fn debug_shows_no_key() {
        let key = KeyPair::generate(KeyKind::P256).unwrap();
        let request = CertificateRequest::new("toaster".parse().unwrap(), key)
            .await
            .unwrap();
        assert_eq!(
            format!("{request:?}"),
            r#"CertificateRequest { registration_id: "toaster", key: KeyPair { algorithm: P256, in_memory: true, .. }, .. }"#
        );
    }
}
