//! The service instance, the device and the settings of a connection: everything that a transport needs except the proof.

use std::fmt;
use std::time::Duration;

use dps_tls::Roots;
use dps_types::protocol::{ApiVersion, device};
use dps_types::{Clock, IdScope, RegistrationId};

use super::endpoint::Endpoint;
use crate::host::Host;
use dps_tls::Proxy;

/// The service instance and the device, for a [`Transport`](super::Transport).
#[derive(Clone)]
pub struct Target {
    pub(crate) endpoint: Endpoint,
    id_scope: IdScope,
    registration_id: RegistrationId,
    pub(crate) api_version: ApiVersion,
}

impl Target {
    /// The host to connect to.
    pub fn host(&self) -> &Host {
        &self.endpoint.host
    }

    /// The id scope of the service instance.
    pub fn id_scope(&self) -> &IdScope {
        &self.id_scope
    }

    /// The registration id of the device.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    /// The api-version of the requests.
    pub fn api_version(&self) -> ApiVersion {
        self.api_version
    }

    /// The roots that the server's certificate must chain to.
    pub fn roots(&self) -> &Roots {
        self.endpoint.roots()
    }

    /// The proxy, if there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.endpoint.proxy.as_ref()
    }

    /// The limit for one request. The client enforces it; a transport may use it for a part of a request.
    pub fn request_timeout(&self) -> Duration {
        self.endpoint.request_timeout
    }

    /// The wall clock, for the expiry of tokens.
    pub fn clock(&self) -> &dyn Clock {
        &*self.endpoint.clock
    }

    /// The resource that a SAS token of this device is for, not URL-encoded.
    pub fn resource(&self) -> String {
        device::resource(&self.id_scope, &self.registration_id)
    }

    pub(crate) fn new(id_scope: IdScope, registration_id: RegistrationId) -> Self {
        Self {
            endpoint: Endpoint::new(Host::GLOBAL),
            id_scope,
            registration_id,
            api_version: ApiVersion::V2021_06_01,
        }
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
