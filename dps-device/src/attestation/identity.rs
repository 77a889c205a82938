//! A certificate chain and the private key of its first certificate, wherever that key is.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use dps_tls::{certified_key, read_chain, read_key};
use rustls::InconsistentKeys;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::error::Error;

/// Who the device is in a TLS handshake: the whole chain, the leaf first, and a key that signs.
///
/// The root need not be in the chain, every certificate between leaf and root must: the service refuses a leaf that it
/// cannot trace.
#[derive(Clone)]
pub struct ClientIdentity(Arc<CertifiedKey>);

impl ClientIdentity {
    /// Reads chain and key, each PEM or DER. The key may be PKCS#8, SEC1 or PKCS#1, not encrypted.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when one of them is missing, malformed or of
    /// an unsupported kind, or when the key is not the leaf's.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        let chain = read_chain(chain.as_ref()).map_err(unusable)?;
        Self::join(chain, key.as_ref())
    }

    /// Takes the certificates, each one DER, the leaf first, and the key, DER or PEM.
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

    /// [`from_pem`](Self::from_pem) of two files, read now.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), and when a file cannot be read.
    pub fn from_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        let chain = read_file(chain.as_ref())?;
        let key = Zeroizing::new(read_file(key.as_ref())?);
        Self::from_pem(chain, &*key)
    }

    /// Takes a chain and a key that signs anywhere: in a PKCS#11 token, in a TPM.
    ///
    /// rustls signs on the thread that drives the connection. A slow device should be driven from a thread of its own.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the chain is empty or its leaf malformed,
    /// or when the key tells its public half and it is not the leaf's.
    pub fn from_certified_key(identity: impl Into<Arc<CertifiedKey>>) -> Result<Self, Error> {
        let identity = identity.into();
        if identity.cert.is_empty() {
            return Err(Error::configuration("the certificate chain is empty"));
        }
        match identity.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Self(identity))
            }
            Err(error) => Err(Error::configuration(
                "the private key and the certificate chain do not go together",
            )
            .with_source(error)),
        }
    }

    /// The certificates, each one DER, the leaf first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.0.cert.iter().map(AsRef::as_ref)
    }

    /// What rustls takes, for a transport to hand on.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.0
    }

    fn join(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Result<Self, Error> {
        let key = read_key(key).map_err(unusable)?;
        let identity = certified_key(chain, key).map_err(unusable)?;
        Ok(Self(Arc::new(identity)))
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
        // The key's own Debug may be anyone's.
        f.debug_struct("ClientIdentity")
            .field("certificates", &self.0.cert.len())
            .finish_non_exhaustive()
    }
}
