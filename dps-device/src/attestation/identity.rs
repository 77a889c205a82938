//! A certificate chain and the private key of its first certificate, which may be in hardware.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use dps_tls::{certified_key, read_chain, read_key};
use rustls::InconsistentKeys;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_cert::der::Decode;
use x509_cert::{Certificate, Version};
use zeroize::Zeroizing;

use crate::error::Error;

/// The identity of the device in a TLS handshake: the certificate chain, the leaf first, and a key that signs.
///
/// The chain must have all intermediate certificates, or the service refuses the leaf. The root is optional.
///
/// ```no_run
/// # fn attestation() -> Result<dps_device::X509Attestation, dps_device::Error> {
/// use dps_device::{ClientIdentity, X509Attestation};
///
/// let identity = ClientIdentity::from_files("device-chain.pem", "device-key.pem")?;
/// X509Attestation::new(identity)
/// # }
/// ```
#[derive(Clone)]
pub struct ClientIdentity(Arc<CertifiedKey>);

impl ClientIdentity {
    /// Reads the chain and the key, each PEM or DER. The key is PKCS#8, SEC1 or PKCS#1, not encrypted.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when one of them is missing, malformed or of
    /// an unsupported kind, or when the key does not belong to the leaf.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        let chain = read_chain(chain.as_ref()).map_err(unusable)?;
        Self::join(chain, key.as_ref())
    }

    /// An identity from certificates, each one DER, the leaf first, and a key, DER or PEM.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(
        chain: impl IntoIterator<Item = Vec<u8>>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, Error> {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        Self::join(chain, key.as_ref())
    }

    /// Reads two files as [`from_pem`](Self::from_pem) does.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), and when a file cannot be read.
    pub fn from_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        let chain = read_file(chain.as_ref())?;
        let key = Zeroizing::new(read_file(key.as_ref())?);
        Self::from_pem(chain, &*key)
    }

    /// An identity from a chain and a key that signs elsewhere, for example in a PKCS#11 token or a TPM.
    ///
    /// rustls calls the key on the thread that drives the connection. Use a separate thread for a slow device.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the chain is empty or its leaf malformed,
    /// or when the key has a public part that does not match the leaf.
    pub fn from_certified_key(identity: impl Into<Arc<CertifiedKey>>) -> Result<Self, Error> {
        let identity = identity.into();
        match identity.cert.first() {
            Some(leaf) => check_version(leaf)?,
            None => return Err(Error::configuration("the certificate chain is empty")),
        }
        match identity.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Self(identity))
            }
            Err(error) => Err(Error::configuration(
                "the private key does not match the first certificate of the chain",
            )
            .with_source(error)),
        }
    }

    /// The certificates, each one DER, the leaf first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.0.cert.iter().map(AsRef::as_ref)
    }

    /// The chain and the key as rustls uses them, for a transport.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.0
    }

    fn join(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Result<Self, Error> {
        let key = read_key(key).map_err(unusable)?;
        if let Some(leaf) = chain.first() {
            check_version(leaf)?;
        }
        let identity = certified_key(chain, key).map_err(unusable)?;
        Ok(Self(Arc::new(identity)))
    }
}

/// rustls supports version 3 only. `openssl x509 -req` without extensions makes version 1 up to OpenSSL 3.1.
fn check_version(leaf: &CertificateDer<'_>) -> Result<(), Error> {
    match Certificate::from_der(leaf) {
        Ok(leaf) if leaf.tbs_certificate().version() != Version::V3 => Err(Error::configuration(
            "the device's certificate is X.509 version 1, and TLS requires version 3: issue it again with an extension, \
                 for example `openssl x509 -req -in device.csr -CA ca.pem -CAkey ca-key.pem -out device.pem -extfile \
                 extensions.txt` where extensions.txt has the line `extendedKeyUsage = clientAuth`",
        )),
        // A certificate that cannot be read is reported where it is used.
        _ => Ok(()),
    }
}

fn unusable(error: dps_tls::Error) -> Error {
    Error::configuration("the device's certificate or private key cannot be used")
        .with_source(error)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| {
        Error::configuration(format!("{} cannot be read", path.display())).with_source(error)
    })
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The Debug of a key in hardware is not ours, and may show a secret.
        f.debug_struct("ClientIdentity")
            .field("certificates", &self.0.cert.len())
            .finish_non_exhaustive()
    }
}
