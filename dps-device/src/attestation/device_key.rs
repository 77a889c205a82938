//! Private keys of the device, most of them in hardware: they sign for TLS and for certificate signing requests.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dps_types::RegistrationId;
use dps_types::sas::SignError;
use rcgen::{CertificateParams, CertificateSigningRequest, DistinguishedName, DnType};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use x509_cert::der::asn1::ObjectIdentifier;
#[cfg(feature = "certificates")]
use x509_cert::der::asn1::UintRef;
use x509_cert::der::{self, Decode};
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};

use super::ClientIdentity;
use crate::error::{Error, signing_kind};

pub(super) const EC_PUBLIC_KEY: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A key pair whose private half stays where it is: in hardware, or in memory.
pub(crate) trait DeviceKey: Send + Sync + fmt::Debug {
    /// The SubjectPublicKeyInfo (RFC 5280), DER.
    fn public_key(&self) -> &[u8];

    /// The kind of the key.
    fn algorithm(&self) -> KeyAlgorithm;

    /// The signature schemes of the key, in order of preference.
    fn schemes(&self) -> &[SignatureScheme] {
        self.algorithm().schemes()
    }

    /// Returns true if the hardware supports this one of [`KeyAlgorithm::schemes`].
    fn can_sign(&self, _: SignatureScheme) -> bool {
        true
    }

    /// Hashes and signs. Returns the signature in the format of TLS and X.509: ECDSA as a DER sequence. The scheme is one of
    /// [`schemes`](Self::schemes). It blocks.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// The kinds of keys that are supported for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyAlgorithm {
    P256,
    P384,
    Rsa,
}

impl KeyAlgorithm {
    /// The kind of this public key (SubjectPublicKeyInfo, DER), `None` for other kinds.
    pub(crate) fn of(public_key: &[u8]) -> Option<Self> {
        let key = SubjectPublicKeyInfoRef::from_der(public_key).ok()?;
        match key.algorithm.oid {
            EC_PUBLIC_KEY => match key.algorithm.parameters_oid().ok()? {
                PRIME256V1 => Some(Self::P256),
                SECP384R1 => Some(Self::P384),
                _ => None,
            },
            RSA_ENCRYPTION => Some(Self::Rsa),
            _ => None,
        }
    }

    /// The signature schemes, in order of preference. TLS 1.3 requires PSS for RSA keys.
    pub(crate) fn schemes(self) -> &'static [SignatureScheme] {
        match self {
            Self::P256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            Self::P384 => &[SignatureScheme::ECDSA_NISTP384_SHA384],
            Self::Rsa => &[
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::RSA_PSS_SHA384,
                SignatureScheme::RSA_PSS_SHA512,
                SignatureScheme::RSA_PKCS1_SHA256,
                SignatureScheme::RSA_PKCS1_SHA384,
                SignatureScheme::RSA_PKCS1_SHA512,
            ],
        }
    }
}

/// The length in bits of an RSA key (SubjectPublicKeyInfo, DER). 0 for another kind of key.
#[cfg(feature = "certificates")]
pub(crate) fn rsa_bits(public_key: &[u8]) -> usize {
    let bits = || {
        let info = SubjectPublicKeyInfoRef::from_der(public_key).ok()?;
        let numbers = Vec::<UintRef<'_>>::from_der(info.subject_public_key.raw_bytes()).ok()?;
        let modulus = numbers.first()?.as_bytes();
        let unused = modulus.first()?.leading_zeros() as usize;
        (info.algorithm.oid == RSA_ENCRYPTION).then_some(8 * modulus.len() - unused)
    };
    bits().unwrap_or_default()
}

/// An identity from a chain and the key of its first certificate.
///
/// # Errors
/// `InvalidConfiguration` when the key does not match, or the chain is empty or malformed.
pub(crate) fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn DeviceKey>,
) -> Result<ClientIdentity, Error> {
    ClientIdentity::from_certified_key(CertifiedKey::new(chain, Arc::new(TlsKey(key))))
}

/// A certificate signing request (PKCS#10, PEM) whose common name is the registration id. It blocks.
///
/// # Errors
/// `Signing` when the hardware cannot sign.
#[cfg(any(feature = "pkcs11", feature = "tpm"))]
pub(crate) fn certificate_request(
    key: &dyn DeviceKey,
    registration_id: &RegistrationId,
) -> Result<String, Error> {
    sign_request(key, registration_id, |request| request.pem())
}

/// As [`certificate_request`], in DER.
#[cfg(feature = "certificates")]
pub(crate) fn certificate_request_der(
    key: &dyn DeviceKey,
    registration_id: &RegistrationId,
) -> Result<Vec<u8>, Error> {
    sign_request(key, registration_id, |request| Ok(request.der().to_vec()))
}

fn sign_request<T>(
    key: &dyn DeviceKey,
    registration_id: &RegistrationId,
    encode: impl FnOnce(CertificateSigningRequest) -> Result<T, rcgen::Error>,
) -> Result<T, Error> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, registration_id.as_str());
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject;

    let key = RequestKey::new(key)?;
    parameters
        .serialize_request(&key)
        .and_then(encode)
        .map_err(|error| key.failure(error))
}

pub(super) fn unencodable(error: der::Error) -> Error {
    Error::configuration("the device's public key cannot be encoded").with_source(error)
}

/// The key as rustls uses it.
///
/// rustls signs synchronously, so the thread that drives the connection waits for the hardware. `block_in_place` is not used
/// because it panics inside a `LocalSet`.
#[derive(Debug)]
struct TlsKey(Arc<dyn DeviceKey>);

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self
            .0
            .schemes()
            .iter()
            .find(|scheme| offered.contains(scheme) && self.0.can_sign(**scheme))?;
        Some(Box::new(TlsSigner {
            key: self.0.clone(),
            scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.public_key().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.algorithm() {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => SignatureAlgorithm::ECDSA,
            KeyAlgorithm::Rsa => SignatureAlgorithm::RSA,
        }
    }
}

#[derive(Debug)]
struct TlsSigner {
    key: Arc<dyn DeviceKey>,
    scheme: SignatureScheme,
}

impl Signer for TlsSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key
            .sign(self.scheme, message)
            .map_err(|error| rustls::Error::Other(OtherError(Arc::new(flat(error)))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// Joins an error and its sources in one text, because rustls drops sources. The source is kept for its kind.
fn flat(failure: SignError) -> SignError {
    let error: &(dyn StdError + 'static) = &failure;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    SignError::new(text).with_source(failure)
}

/// The key as rcgen uses it. rcgen drops errors, so the failure is stored here.
struct RequestKey<'a> {
    key: &'a dyn DeviceKey,
    /// The subjectPublicKey of the SubjectPublicKeyInfo.
    public_key: Vec<u8>,
    failure: Mutex<Option<SignError>>,
}

impl<'a> RequestKey<'a> {
    fn new(key: &'a dyn DeviceKey) -> Result<Self, Error> {
        let info = SubjectPublicKeyInfoOwned::from_der(key.public_key()).map_err(unencodable)?;
        Ok(Self {
            key,
            public_key: info.subject_public_key.raw_bytes().to_vec(),
            failure: Mutex::default(),
        })
    }

    fn failure(self, error: rcgen::Error) -> Error {
        let failed = |kind| Error::new(kind, "the certificate signing request cannot be made");
        match self
            .failure
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Some(failure) => failed(signing_kind(&failure)).with_source(failure),
            None => failed(crate::ErrorKind::Signing).with_source(error),
        }
    }
}

impl rcgen::PublicKeyData for RequestKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.key.algorithm() {
            KeyAlgorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Rsa => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl rcgen::SigningKey for RequestKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let scheme = match self.key.algorithm() {
            KeyAlgorithm::P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            KeyAlgorithm::P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            KeyAlgorithm::Rsa => SignatureScheme::RSA_PKCS1_SHA256,
        };
        self.key.sign(scheme, message).map_err(|error| {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            rcgen::Error::RemoteKeyError
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData};

    use super::*;

    /// A key whose hardware was removed.
    #[derive(Debug)]
    struct Removed(Vec<u8>);

    impl DeviceKey for Removed {
        fn public_key(&self) -> &[u8] {
            &self.0
        }

        fn algorithm(&self) -> KeyAlgorithm {
            KeyAlgorithm::of(&self.0).unwrap()
        }

        fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, SignError> {
            Err(SignError::new("the device was removed"))
        }
    }

    #[test]
    fn the_error_of_the_hardware_is_the_source() {
        let pair = KeyPair::generate().unwrap();
        let key = Removed(pair.subject_public_key_info());

        let id = "toaster".parse().unwrap();
        let error = sign_request(&key, &id, |request| request.pem()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Signing);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "the device was removed");
    }
}
