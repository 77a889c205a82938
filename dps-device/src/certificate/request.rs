//! A request for a certificate: a new key pair, and the PKCS#10 document that it signed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dps_types::{ParseError, RegistrationId};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::der::{Decode, Encode};
use x509_cert::request::CertReq;

use super::key_pair::KeyPair;
use crate::attestation::x509::common_name_in;
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

    /// Reads a request that another program has made: PKCS#10 in PEM or DER.
    ///
    /// The private key stays with that program. The certificate that is issued for the request therefore cannot connect to a hub
    /// here: [`IssuedCertificate::identity`](super::IssuedCertificate::identity) cannot sign.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if it is not a request, if its common name is not
    /// a registration id, or if its key is of another kind than ECDSA on P-256 or P-384 and RSA. The service checks the signature.
    pub fn read(request: &[u8]) -> Result<Self, Error> {
        let invalid = |what: &str| Error::configuration(format!("the certificate request {what}"));
        let der = match CertificateSigningRequestDer::from_pem_slice(request) {
            Ok(der) => der.as_ref().to_vec(),
            Err(_) => request.to_vec(),
        };
        let parsed = CertReq::from_der(&der)
            .map_err(|error| invalid("is not PKCS#10 in PEM or DER").with_source(error))?;
        let name = common_name_in(&parsed.info.subject)
            .ok_or_else(|| invalid("has no common name: it must be the registration id"))?;
        let registration_id = name.parse().map_err(|error: ParseError| {
            invalid("has a common name that is not a registration id").with_source(error)
        })?;
        let public_key = parsed.info.public_key.to_der().map_err(|error| {
            invalid("has a public key that cannot be encoded").with_source(error)
        })?;
        let key = KeyPair::elsewhere(public_key).ok_or_else(|| {
            invalid("has a key of another kind than ECDSA on P-256 or P-384, or RSA")
        })?;
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

    use super::super::KeyKind;
    use super::*;
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
    async fn a_request_of_another_program_is_read_from_pem_and_der() {
        let key = KeyPair::generate(KeyKind::P384).unwrap();
        let own = CertificateRequest::new("toaster-1".parse().unwrap(), key)
            .await
            .unwrap();
        let pem = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            own.to_base64()
        );
        for text in [own.der(), pem.as_bytes()] {
            let read = CertificateRequest::read(text).unwrap();
            assert_eq!(read.registration_id().as_str(), "toaster-1");
            assert_eq!(read.der(), own.der());
            assert_eq!(read.key().public_key(), own.key().public_key());
            assert_eq!(read.key().pkcs8(), None);
            let other = read
                .key()
                .request(read.registration_id())
                .await
                .unwrap_err();
            assert_eq!(other.kind(), ErrorKind::Signing);
        }
        let cut = &own.der()[..own.der().len() - 1];
        for text in [&b""[..], b"{}", cut] {
            let error = CertificateRequest::read(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        }
    }

    #[test]
    fn a_request_must_name_a_device_and_have_a_supported_key() {
        let request = |name: Option<&str>, kind| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            if let Some(name) = name {
                params
                    .distinguished_name
                    .push(rcgen::DnType::CommonName, name);
            }
            let key = rcgen::KeyPair::generate_for(kind).unwrap();
            params.serialize_request(&key).unwrap().der().to_vec()
        };
        for (name, kind, words) in [
            (None, &rcgen::PKCS_ECDSA_P256_SHA256, "no common name"),
            (
                Some("not an id"),
                &rcgen::PKCS_ECDSA_P256_SHA256,
                "not a registration id",
            ),
            (Some("toaster-1"), &rcgen::PKCS_ED25519, "another kind"),
        ] {
            let error = CertificateRequest::read(&request(name, kind)).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
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
