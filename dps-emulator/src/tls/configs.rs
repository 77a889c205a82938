//! The server's TLS configurations for one certificate.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::client_certificates::AnyClient;
use crate::error::{Error, ErrorKind};

/// The application protocol (ALPN) of HTTPS and WebSocket.
pub(super) const HTTP_1_1: &[u8] = b"http/1.1";

/// The configurations for one certificate.
#[derive(Debug, Clone)]
pub(crate) struct Configs {
    /// Selects `http/1.1`.
    http: Arc<ServerConfig>,
    /// Selects no application protocol.
    plain: Arc<ServerConfig>,
}

impl Configs {
    pub(crate) fn new(identity: CertifiedKey) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let verifier = AnyClient::new(provider.signature_verification_algorithms);
        let mut plain = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(certificate_error)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        // A device has one connection at a time.
        plain.send_tls13_tickets = 1;
        let mut http = plain.clone();
        http.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self {
            http: Arc::new(http),
            plain: Arc::new(plain),
        })
    }

    /// The configuration with or without the application protocol `http/1.1`.
    pub(super) fn select(&self, is_http: bool) -> Arc<ServerConfig> {
        Arc::clone(match is_http {
            true => &self.http,
            false => &self.plain,
        })
    }
}

pub(super) fn certificate_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Certificate,
        "the server's certificate cannot be used",
    )
    .with_source(error)
}
