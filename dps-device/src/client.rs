//! The client: the service instance, the attestation, the transport and the settings of connections.

use std::sync::Arc;
use std::time::Duration;

use dps_tls::Roots;
use dps_types::protocol::ApiVersion;
use dps_types::{Clock, IdScope, RegistrationId};

use crate::attestation::proof::Attestation;
use crate::host::Host;
use crate::poll::{self, Draws};
use crate::transport::endpoint;
use crate::transport::session::Transport;
use crate::transport::target::Target;
use dps_tls::Proxy;

/// A device's client for DPS.
///
/// It keeps no connection and no state of a registration: register as often as you like, after any outcome, and several
/// times at once. Clones are cheap.
///
/// ```no_run
/// # #[cfg(feature = "http")]
/// # fn client() -> Result<dps_device::ProvisioningClient, Box<dyn std::error::Error>> {
/// use dps_device::{Http, ProvisioningClient, SymmetricKey, SymmetricKeyAttestation};
///
/// let key = SymmetricKey::from_base64(&std::env::var("DPS_KEY")?)?;
/// let attestation = SymmetricKeyAttestation::new("toaster-1".parse()?, key);
/// let client = ProvisioningClient::new("0ne00123ABC".parse()?, attestation, Http::default());
/// # Ok(client)
/// # }
/// ```
///
/// See the page [Your first device in Rust](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/first-device.md) of the book.
#[derive(Debug, Clone)]
pub struct ProvisioningClient {
    pub(crate) attestation: Arc<dyn Attestation>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) target: Arc<Target>,
    pub(crate) min_poll_interval: Duration,
    pub(crate) draws: Draws,
}

impl ProvisioningClient {
    /// The default timeout of a registration and of a lookup.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5 * 60);
    /// The default timeout of one request, the connection included.
    pub const DEFAULT_REQUEST_TIMEOUT: Duration = endpoint::DEFAULT_REQUEST_TIMEOUT;
    /// The default of the shortest wait between two requests.
    pub const DEFAULT_MIN_POLL_INTERVAL: Duration = poll::MIN_INTERVAL;

    /// A client of the service instance with this id scope.
    pub fn new(
        id_scope: IdScope,
        attestation: impl Attestation + 'static,
        transport: impl Transport + 'static,
    ) -> Self {
        let registration_id = attestation.registration_id().clone();
        Self {
            attestation: Arc::new(attestation),
            transport: Arc::new(transport),
            target: Arc::new(Target::new(id_scope, registration_id)),
            min_poll_interval: Self::DEFAULT_MIN_POLL_INTERVAL,
            draws: Draws::default(),
        }
    }

    /// Sets the host to connect to. The default is [`Host::GLOBAL`]; sovereign clouds have their own hosts.
    #[must_use]
    pub fn with_host(self, host: impl Into<Host>) -> Self {
        let host = host.into();
        self.edit_target(|target| target.endpoint.host = host)
    }

    /// Sets the roots that the server's certificate must chain to. The default is [`Roots::system`].
    #[must_use]
    pub fn with_roots(self, roots: Roots) -> Self {
        self.edit_target(|target| target.endpoint.set_roots(roots))
    }

    /// Connects through this proxy. Without it, no proxy is used: environment variables are not read.
    #[must_use]
    pub fn with_proxy(self, proxy: Proxy) -> Self {
        self.edit_target(|target| target.endpoint.proxy = Some(proxy))
    }

    /// Sets the api-version. The default is [`ApiVersion::V2021_06_01`].
    #[must_use]
    pub fn with_api_version(self, version: ApiVersion) -> Self {
        self.edit_target(|target| target.api_version = version)
    }

    /// Sets the timeout of one request, the connection included. The default is
    /// [`DEFAULT_REQUEST_TIMEOUT`](Self::DEFAULT_REQUEST_TIMEOUT).
    #[must_use]
    pub fn with_request_timeout(self, limit: Duration) -> Self {
        self.edit_target(|target| target.endpoint.request_timeout = limit)
    }

    /// Sets the wall clock, which decides when SAS tokens expire. The default is
    /// [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn with_clock(self, clock: impl Clock + 'static) -> Self {
        self.edit_target(|target| target.endpoint.clock = Arc::new(clock))
    }

    /// Sets the shortest wait between two requests. A longer `Retry-After` of the service is respected.
    ///
    /// A value below [`DEFAULT_MIN_POLL_INTERVAL`](Self::DEFAULT_MIN_POLL_INTERVAL) is for an emulator: DPS throttles a device
    /// that polls faster.
    #[must_use]
    pub fn with_min_poll_interval(mut self, interval: Duration) -> Self {
        self.min_poll_interval = interval;
        self
    }

    /// Sets the source of the random part of the waits between requests and between registrations: a number from 0 to 1 for each wait.
    /// The default is the random numbers of the system.
    ///
    /// A simulation that must be repeatable has random numbers of its own. Devices of a fleet must not share a sequence: they would
    /// return to the service at the same time.
    #[must_use]
    pub fn with_random(mut self, draw: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.draws = Draws::new(draw);
        self
    }

    /// The registration id of the device: that of its attestation.
    pub fn registration_id(&self) -> &RegistrationId {
        self.target.registration_id()
    }

    fn edit_target(mut self, edit: impl FnOnce(&mut Target)) -> Self {
        edit(Arc::make_mut(&mut self.target));
        self
    }
}
