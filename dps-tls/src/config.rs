//! Makes a rustls client configuration from roots and an identity.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, ClientConfig};

use crate::error::{Error, ErrorKind};
use crate::identity;
use crate::roots::Roots;
use crate::versions::versions;

/// Makes a [`ClientConfig`]: TLS 1.2 and 1.3 on *ring*, no ALPN, server certificates verified against the [`Roots`].
///
/// Of the cipher suites of TLS 1.3, `TLS13_AES_128_GCM_SHA256` is offered first. The server chooses. A key
/// in hardware that signs only as TLS 1.2 allows (RSA with PKCS#1 v1.5) is used with TLS 1.2.
#[derive(Clone)]
pub struct ClientTls {
    roots: Roots,
    identity: Option<Arc<CertifiedKey>>,
}

impl ClientTls {
    /// A client that trusts `roots` and presents no certificate.
    pub fn new(roots: Roots) -> Self {
        Self {
            roots,
            identity: None,
        }
    }

    /// Presents this certificate, with its whole chain, to every server that requests one, whichever issuers it names.
    ///
    /// [`certified_key`](crate::certified_key) makes an identity from bytes. For a key in hardware, [`CertifiedKey::new`]
    /// accepts any [`SigningKey`](rustls::sign::SigningKey).
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<Arc<CertifiedKey>>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Makes the configuration. With [`Roots::system`] this reads the platform's store from disk, blocking.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SystemRoots`] with [`Roots::system`] when the platform's store has no usable root, even if there are
    /// other roots. For the identity: [`ErrorKind::NoCertificate`], [`ErrorKind::MalformedCertificate`] and
    /// [`ErrorKind::KeyMismatch`], the last two only if the key provides its public half.
    pub fn build(self) -> Result<ClientConfig, Error> {
        if let Some(identity) = &self.identity {
            identity::check(identity)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(versions(self.identity.as_deref()))
            .map_err(|error| {
                Error::new(ErrorKind::Config, "rustls refused the protocol versions")
                    .with_source(error)
            })?
            .with_root_certificates(self.roots.load()?);
        Ok(match self.identity {
            Some(identity) => {
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
            None => config.with_no_client_auth(),
        })
    }
}

/// The handshake has a strength of 128 bits with every suite, and with SHA-256 it costs less than with SHA-384.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    // The sort is stable: the others keep their order.
    provider
        .cipher_suites
        .sort_by_key(|it| it.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The Debug of the key may be foreign code: show the length of the chain, and omit the key.
        let certificates = self.identity.as_ref().map(|identity| identity.cert.len());
        f.debug_struct("ClientTls")
            .field("roots", &self.roots)
            .field("identity_certificates", &certificates)
            .finish_non_exhaustive()
    }
}
