//! A key pair for a certificate: in memory, in a PKCS#11 token or in a TPM.

use std::fmt;
use std::sync::Arc;

use dps_tls::read_chain;
use dps_types::RegistrationId;
use dps_types::sas::SignError;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;
use tokio::task::spawn_blocking;
use zeroize::{Zeroize, Zeroizing};

use crate::attestation::ClientIdentity;
use crate::attestation::blocking::AbortOnDrop;
use crate::attestation::device_key::{
    self, DeviceKey, KeyAlgorithm, certificate_request_der, rsa_bits,
};
use crate::attestation::key_kind::KeyKind;
use crate::error::Error;
#[cfg(feature = "pkcs11")]
use crate::pkcs11::PrivateKey;
#[cfg(feature = "tpm")]
use crate::tpm::TpmKeyPair;

/// A key pair that a certificate is requested for. A [`PrivateKey`](crate::pkcs11::PrivateKey) of a PKCS#11 token and a
/// [`TpmKeyPair`](crate::tpm::TpmKeyPair) convert into it, and the private key stays there.
///
/// Clones are cheap and share the key. Debug does not show it.
#[derive(Clone)]
pub struct KeyPair {
    key: Arc<dyn DeviceKey>,
    /// For a key in memory: PKCS#8, DER.
    pkcs8: Option<Arc<Zeroizing<Vec<u8>>>>,
}

impl KeyPair {
    /// Generates a key pair in memory.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) for an RSA key, which DPS does not accept in a
    /// certificate request, and when the operating system has no random numbers.
    pub fn generate(kind: KeyKind) -> Result<Self, Error> {
        let algorithm = match kind {
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
                return Err(Error::configuration(
                    "an RSA key cannot be generated in memory: DPS issues certificates for keys on P-256 and P-384",
                ));
            }
        };
        let mut generated = rcgen::KeyPair::generate_for(algorithm).map_err(|error| {
            Error::configuration("the key pair cannot be generated").with_source(error)
        })?;
        let pkcs8 = Zeroizing::new(generated.serialize_der());
        generated.zeroize();
        Self::from_pkcs8(pkcs8)
    }

    /// The public key: a SubjectPublicKeyInfo (RFC 5280), DER.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    /// The private key of a key pair in memory: PKCS#8, DER. `None` for a key in hardware.
    pub fn pkcs8(&self) -> Option<&[u8]> {
        self.pkcs8.as_ref().map(|pkcs8| pkcs8.as_slice())
    }

    /// Reads a private key in memory: PKCS#8, DER.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when it is not a key on P-256 or P-384.
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        let key = MemoryKey::new(&pkcs8)?;
        Ok(Self {
            key: Arc::new(key),
            pkcs8: Some(Arc::new(pkcs8)),
        })
    }

    /// The key pair of another program, of which only the public key is known (SubjectPublicKeyInfo, DER). `None` for a key of a
    /// kind that is not supported.
    pub(super) fn elsewhere(public_key: Vec<u8>) -> Option<Self> {
        let algorithm = KeyAlgorithm::of(&public_key)?;
        Some(Self {
            key: Arc::new(KeyElsewhere {
                public_key,
                algorithm,
            }),
            pkcs8: None,
        })
    }

    /// A certificate request, PKCS#10 in DER. A key in hardware signs on a blocking thread.
    pub(super) async fn request(&self, registration_id: &RegistrationId) -> Result<Vec<u8>, Error> {
        if self.pkcs8.is_some() {
            return certificate_request_der(&*self.key, registration_id);
        }
        let (key, registration_id) = (self.key.clone(), registration_id.clone());
        let signed = spawn_blocking(move || certificate_request_der(&*key, &registration_id));
        AbortOnDrop(signed).await.unwrap_or_else(|error| {
            let what = "the thread that signs the certificate request has ended";
            Err(Error::new(crate::ErrorKind::Signing, what).with_source(error))
        })
    }

    /// The kind of the key. `None` for an RSA key of another length than those of [`KeyKind`].
    pub fn kind(&self) -> Option<KeyKind> {
        match self.key.algorithm() {
            KeyAlgorithm::P256 => Some(KeyKind::P256),
            KeyAlgorithm::P384 => Some(KeyKind::P384),
            KeyAlgorithm::Rsa => match rsa_bits(self.public_key()) {
                2048 => Some(KeyKind::Rsa2048),
                3072 => Some(KeyKind::Rsa3072),
                4096 => Some(KeyKind::Rsa4096),
                _ => None,
            },
        }
    }

    /// The device's identity: this key with its certificate chain (PEM or DER, the leaf first).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the chain cannot be read, or the leaf has another
    /// public key.
    pub fn identity(&self, chain: impl AsRef<[u8]>) -> Result<ClientIdentity, Error> {
        let chain = read_chain(chain.as_ref()).map_err(|error| {
            Error::configuration("the certificate chain cannot be read").with_source(error)
        })?;
        self.identity_of(chain)
    }

    pub(super) fn identity_of(
        &self,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<ClientIdentity, Error> {
        device_key::identity(chain, self.key.clone())
    }
}

#[cfg(feature = "pkcs11")]
impl From<PrivateKey> for KeyPair {
    fn from(key: PrivateKey) -> Self {
        Self {
            key: key.device_key(),
            pkcs8: None,
        }
    }
}

#[cfg(feature = "tpm")]
impl From<TpmKeyPair> for KeyPair {
    fn from(key: TpmKeyPair) -> Self {
        Self {
            key: key.device_key(),
            pkcs8: None,
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("algorithm", &self.key.algorithm())
            .field("in_memory", &self.pkcs8.is_some())
            .finish_non_exhaustive()
    }
}

/// A key in memory that signs like one in hardware.
struct MemoryKey {
    signer: Arc<dyn SigningKey>,
    public_key: Vec<u8>,
    algorithm: KeyAlgorithm,
}

impl MemoryKey {
    fn new(pkcs8: &[u8]) -> Result<Self, Error> {
        let unusable =
            || Error::configuration("the private key is not a PKCS#8 key on P-256 or P-384");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
        let signer = any_ecdsa_type(&key).map_err(|error| unusable().with_source(error))?;
        let public_key = signer.public_key().ok_or_else(unusable)?.to_vec();
        let algorithm = KeyAlgorithm::of(&public_key).ok_or_else(unusable)?;
        Ok(Self {
            signer,
            public_key,
            algorithm,
        })
    }
}

impl DeviceKey for MemoryKey {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signer = self.signer.choose_scheme(&[scheme]);
        let signer = signer.ok_or_else(|| SignError::new("the key does not support the scheme"))?;
        signer
            .sign(message)
            .map_err(|error| SignError::new("the key cannot sign").with_source(error))
    }
}

impl fmt::Debug for MemoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A key whose private half is in another program.
#[derive(Debug)]
struct KeyElsewhere {
    public_key: Vec<u8>,
    algorithm: KeyAlgorithm,
}

impl DeviceKey for KeyElsewhere {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, SignError> {
        Err(SignError::new(
            "the private key is in the program that made the certificate request",
        ))
    }
}
