//! The client: who the device is, how the bytes travel, and where to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dps_types::IdScope;
use dps_types::protocol::ApiVersion;

use crate::Roots;
use crate::attestation::Attestation;
use crate::lookup::Lookup;
use crate::poll;
use crate::register::Register;
use crate::transport::{Proxy, Target, Transport};
use dps_types::Clock;

/// A device's client for DPS.
///
/// It keeps no connection and no memory of a registration: register as often as you like, after any outcome, and at the
/// same time. Clones are cheap and share what is costly.
#[derive(Clone)]
pub struct ProvisioningClient {
    pub(crate) attestation: Arc<dyn Attestation>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) target: Arc<Target>,
    pub(crate) min_poll_interval: Duration,
}

impl ProvisioningClient {
    /// How long a registration or a lookup may take, unless it is told otherwise.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5 * 60);
    /// How long one request may take, the connection included, unless it is told otherwise.
    pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
    /// The shortest wait between two requests, unless it is told otherwise.
    pub const DEFAULT_MIN_POLL_INTERVAL: Duration = poll::MIN_INTERVAL;

    /// A client of the instance with this id scope.
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
        }
    }

    /// The host to talk to: a name or an address, without a port. The default is
    /// [`GLOBAL_HOST`](dps_types::protocol::device::GLOBAL_HOST); sovereign clouds have their own.
    #[must_use]
    pub fn with_host(self, host: impl Into<String>) -> Self {
        self.aimed(|target| target.set_host(host.into()))
    }

    /// Whom to trust. The default is [`Roots::system`].
    #[must_use]
    pub fn with_roots(self, roots: Roots) -> Self {
        self.aimed(|target| target.set_roots(roots))
    }

    /// Goes through this proxy. There is none by default, and none is taken from the environment.
    #[must_use]
    pub fn with_proxy(self, proxy: Proxy) -> Self {
        self.aimed(|target| target.set_proxy(proxy))
    }

    /// The edition of the API to speak. The default is [`ApiVersion::V2021_06_01`].
    #[must_use]
    pub fn with_api_version(self, version: ApiVersion) -> Self {
        self.aimed(|target| target.set_api_version(version))
    }

    /// How long one request may take, the connection included.
    #[must_use]
    pub fn with_request_timeout(self, limit: Duration) -> Self {
        self.aimed(|target| target.set_request_timeout(limit))
    }

    /// The wall clock that dates SAS tokens.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock + 'static) -> Self {
        self.aimed(|target| target.set_clock(Arc::new(clock)))
    }

    /// The shortest wait between two requests, where the service asks for none or for a shorter one.
    ///
    /// Shorter than [`DEFAULT_MIN_POLL_INTERVAL`](Self::DEFAULT_MIN_POLL_INTERVAL) is for an emulator: DPS would throttle the device.
    #[must_use]
    pub fn with_min_poll_interval(mut self, interval: Duration) -> Self {
        self.min_poll_interval = interval;
        self
    }

    /// Registers the device and waits for its assignment: `Ok` means assigned.
    ///
    /// # Errors
    /// The await gives every [`ErrorKind`](crate::ErrorKind); each says who must act.
    pub fn register(&self) -> Register {
        Register::new(self.clone())
    }

    /// Asks what the service knows about the device. Unlike a registration it changes nothing and costs nothing.
    ///
    /// Nor does it change the device: a TPM is challenged, and a hub key in the answer is left where it is.
    ///
    /// The answer may have any status: `unassigned`, `disabled` and `failed` are no errors here.
    ///
    /// # Errors
    /// The await gives [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where the device has never registered,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the transport has no lookup, and the others as they say.
    pub fn lookup(&self) -> Lookup {
        Lookup::new(self.clone())
    }

    fn aimed(mut self, change: impl FnOnce(&mut Target)) -> Self {
        change(Arc::make_mut(&mut self.target));
        self
    }
}

impl fmt::Debug for ProvisioningClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvisioningClient")
            .field("target", &self.target)
            .field("min_poll_interval", &self.min_poll_interval)
            .finish_non_exhaustive()
    }
}
