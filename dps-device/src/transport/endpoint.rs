//! A host and the settings of a connection to it: trusted roots, proxy, time limit, clock.

use std::fmt;
use std::sync::Arc;
#[cfg(any(feature = "http", feature = "mqtt", feature = "amqp"))]
use std::sync::OnceLock;
use std::time::Duration;

use dps_tls::Roots;
use dps_types::{Clock, SystemClock};

use crate::host::Host;
use dps_tls::Proxy;

/// The default limit for one request, the connection included.
pub(crate) const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A host with everything that a connection to it needs.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) host: Host,
    roots: Roots,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) request_timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    /// Without a client certificate. It is kept because reading the system's roots is slow.
    #[cfg(any(feature = "http", feature = "mqtt", feature = "amqp"))]
    tls: OnceLock<rustls::ClientConfig>,
}

impl Endpoint {
    pub(crate) fn new(host: Host) -> Self {
        Self {
            host,
            roots: Roots::default(),
            proxy: None,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            clock: Arc::new(SystemClock),
            #[cfg(any(feature = "http", feature = "mqtt", feature = "amqp"))]
            tls: OnceLock::new(),
        }
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(crate) fn set_roots(&mut self, roots: Roots) {
        self.roots = roots;
        #[cfg(any(feature = "http", feature = "mqtt", feature = "amqp"))]
        {
            self.tls = OnceLock::new();
        }
    }
}

#[cfg(any(feature = "http", feature = "mqtt", feature = "amqp"))]
mod tls {
    use std::sync::Arc;

    use rustls::ClientConfig;
    use rustls::sign::SingleCertAndKey;

    use super::Endpoint;
    use crate::attestation::identity::ClientIdentity;
    use crate::error::ErrorKind;
    use crate::transport::error::TransportError;

    impl Endpoint {
        /// The TLS configuration, with the device's certificate if it has one.
        pub(crate) fn client_config(
            &self,
            identity: Option<&ClientIdentity>,
        ) -> Result<ClientConfig, TransportError> {
            if let Some(identity) = identity
                && !dps_tls::signs_for_tls13(identity.certified_key())
            {
                // The shared configuration offers TLS 1.3.
                return dps_tls::ClientTls::new(self.roots().clone())
                    .with_identity(identity.certified_key().clone())
                    .build()
                    .map_err(unusable);
            }
            let mut config = match self.tls.get() {
                Some(config) => config.clone(),
                None => {
                    let config = dps_tls::ClientTls::new(self.roots().clone())
                        .build()
                        .map_err(unusable)?;
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

    fn unusable(error: dps_tls::Error) -> TransportError {
        TransportError::new(
            ErrorKind::InvalidConfiguration,
            "the TLS configuration is not usable",
        )
        .with_source(error)
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
