//! Where to, for whom, and on what terms: all that a carrier needs besides the proof.

use std::fmt;
use std::sync::Arc;
#[cfg(any(feature = "http", feature = "mqtt"))]
use std::sync::OnceLock;
use std::time::Duration;

use dps_tls::Roots;
use dps_types::protocol::{ApiVersion, device};
use dps_types::{IdScope, RegistrationId};

use super::Proxy;
use crate::client::ProvisioningClient;
use crate::clock::{Clock, SystemClock};

/// The service as a client means to reach it.
#[derive(Clone)]
pub struct Target {
    host: String,
    id_scope: IdScope,
    registration_id: RegistrationId,
    api_version: ApiVersion,
    roots: Roots,
    proxy: Option<Proxy>,
    request_timeout: Duration,
    clock: Arc<dyn Clock>,
    /// Without a client certificate. Reading the system's roots takes a while: once is enough.
    #[cfg(any(feature = "http", feature = "mqtt"))]
    tls: OnceLock<rustls::ClientConfig>,
}

impl Target {
    /// The host, as the caller wrote it: a carrier must check it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The service instance.
    pub fn id_scope(&self) -> &IdScope {
        &self.id_scope
    }

    /// The device.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    /// The edition of the API to speak.
    pub fn api_version(&self) -> ApiVersion {
        self.api_version
    }

    /// Whom to trust.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The proxy to go through.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// How long one request may take. The client enforces it; a carrier may tell its peer.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// The wall clock, for the expiry of tokens.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// What a SAS token of this device claims, not encoded.
    pub fn resource(&self) -> String {
        device::resource(&self.id_scope, &self.registration_id)
    }

    pub(crate) fn new(id_scope: IdScope, registration_id: RegistrationId) -> Self {
        Self {
            host: device::GLOBAL_HOST.to_owned(),
            id_scope,
            registration_id,
            api_version: ApiVersion::V2021_06_01,
            roots: Roots::default(),
            proxy: None,
            request_timeout: ProvisioningClient::DEFAULT_REQUEST_TIMEOUT,
            clock: Arc::new(SystemClock),
            #[cfg(any(feature = "http", feature = "mqtt"))]
            tls: OnceLock::new(),
        }
    }

    pub(crate) fn set_host(&mut self, host: String) {
        self.host = host;
    }

    pub(crate) fn set_roots(&mut self, roots: Roots) {
        self.roots = roots;
        #[cfg(any(feature = "http", feature = "mqtt"))]
        {
            self.tls = OnceLock::new();
        }
    }

    pub(crate) fn set_proxy(&mut self, proxy: Proxy) {
        self.proxy = Some(proxy);
    }

    pub(crate) fn set_api_version(&mut self, version: ApiVersion) {
        self.api_version = version;
    }

    pub(crate) fn set_request_timeout(&mut self, limit: Duration) {
        self.request_timeout = limit;
    }

    pub(crate) fn set_clock(&mut self, clock: Arc<dyn Clock>) {
        self.clock = clock;
    }
}

#[cfg(any(feature = "http", feature = "mqtt"))]
mod tls {
    use rustls::ClientConfig;
    use rustls::sign::SingleCertAndKey;

    use super::{Arc, Target};
    use crate::attestation::ClientIdentity;
    use crate::error::ErrorKind;
    use crate::transport::TransportError;

    impl Target {
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

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("host", &self.host)
            .field("id_scope", &self.id_scope)
            .field("registration_id", &self.registration_id)
            .field("api_version", &self.api_version)
            .field("proxy", &self.proxy)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}
