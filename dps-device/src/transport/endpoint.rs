//! A host, and on what terms to talk to it: whom to trust, which proxy to go through, how long to wait, what time it is.

use std::fmt;
use std::sync::Arc;
#[cfg(any(feature = "http", feature = "mqtt"))]
use std::sync::OnceLock;
use std::time::Duration;

use dps_tls::Roots;

use super::Proxy;
use crate::client::ProvisioningClient;
use dps_types::{Clock, SystemClock};

/// A host as a client means to reach it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    host: String,
    roots: Roots,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) request_timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    /// Without a client certificate. Reading the system's roots takes a while: once is enough.
    #[cfg(any(feature = "http", feature = "mqtt"))]
    tls: OnceLock<rustls::ClientConfig>,
}

impl Endpoint {
    pub(crate) fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            roots: Roots::default(),
            proxy: None,
            request_timeout: ProvisioningClient::DEFAULT_REQUEST_TIMEOUT,
            clock: Arc::new(SystemClock),
            #[cfg(any(feature = "http", feature = "mqtt"))]
            tls: OnceLock::new(),
        }
    }

    /// As the caller wrote it: a carrier must check it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(crate) fn set_host(&mut self, host: impl Into<String>) {
        self.host = host.into();
    }

    pub(crate) fn set_roots(&mut self, roots: Roots) {
        self.roots = roots;
        #[cfg(any(feature = "http", feature = "mqtt"))]
        {
            self.tls = OnceLock::new();
        }
    }
}

#[cfg(any(feature = "http", feature = "mqtt"))]
mod tls {
    use rustls::ClientConfig;
    use rustls::sign::SingleCertAndKey;

    use super::{Arc, Endpoint};
    use crate::attestation::ClientIdentity;
    use crate::error::ErrorKind;
    use crate::transport::TransportError;

    impl Endpoint {
        /// The TLS configuration, with the device's certificate where it has one.
        pub(crate) fn client_config(
            &self,
            identity: Option<&ClientIdentity>,
        ) -> Result<ClientConfig, TransportError> {
            let mut config = match self.tls.get() {
                Some(config) => config.clone(),
                None => {
                    let config = dps_tls::ClientTls::new(self.roots.clone())
                        .build()
                        .map_err(|error| {
                            TransportError::new(
                                ErrorKind::InvalidConfiguration,
                                "there is no usable TLS configuration",
                            )
                            .with_source(error)
                        })?;
                    self.tls.get_or_init(|| config).clone()
                }
            };
            if let Some(identity) = identity {
                let key = identity.certified_key().clone();
                config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
            }
            Ok(config)
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("host", &self.host)
            .field("proxy", &self.proxy)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}
