//! Where to, for whom, and on what terms: all that a carrier needs besides the proof.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dps_tls::Roots;
use dps_types::protocol::{ApiVersion, device};
use dps_types::{IdScope, RegistrationId};

use super::Proxy;
use super::endpoint::Endpoint;
use dps_types::Clock;

/// The service as a client means to reach it.
#[derive(Clone)]
pub struct Target {
    endpoint: Endpoint,
    id_scope: IdScope,
    registration_id: RegistrationId,
    api_version: ApiVersion,
}

impl Target {
    /// The host, as the caller wrote it: a carrier must check it.
    pub fn host(&self) -> &str {
        self.endpoint.host()
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
        self.endpoint.roots()
    }

    /// The proxy to go through.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.endpoint.proxy.as_ref()
    }

    /// How long one request may take. The client enforces it; a carrier may tell its peer.
    pub fn request_timeout(&self) -> Duration {
        self.endpoint.request_timeout
    }

    /// The wall clock, for the expiry of tokens.
    pub fn clock(&self) -> &dyn Clock {
        &*self.endpoint.clock
    }

    /// What a SAS token of this device claims, not encoded.
    pub fn resource(&self) -> String {
        device::resource(&self.id_scope, &self.registration_id)
    }

    pub(crate) fn new(id_scope: IdScope, registration_id: RegistrationId) -> Self {
        Self {
            endpoint: Endpoint::new(device::GLOBAL_HOST),
            id_scope,
            registration_id,
            api_version: ApiVersion::V2021_06_01,
        }
    }

    #[cfg(any(feature = "http", feature = "mqtt"))]
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn set_host(&mut self, host: String) {
        self.endpoint.set_host(host);
    }

    pub(crate) fn set_roots(&mut self, roots: Roots) {
        self.endpoint.set_roots(roots);
    }

    pub(crate) fn set_proxy(&mut self, proxy: Proxy) {
        self.endpoint.proxy = Some(proxy);
    }

    pub(crate) fn set_api_version(&mut self, version: ApiVersion) {
        self.api_version = version;
    }

    pub(crate) fn set_request_timeout(&mut self, limit: Duration) {
        self.endpoint.request_timeout = limit;
    }

    pub(crate) fn set_clock(&mut self, clock: Arc<dyn Clock>) {
        self.endpoint.clock = clock;
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("endpoint", &self.endpoint)
            .field("id_scope", &self.id_scope)
            .field("registration_id", &self.registration_id)
            .field("api_version", &self.api_version)
            .finish()
    }
}
