//! The assigned hub: its address, and the device's credentials for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dps_types::protocol::hub::{self, Username};
use dps_types::protocol::hub_message::{
    EventsTopic, PropertyBag, devicebound_filter, module_filter,
};
use dps_types::{ConnectionProfile, DeviceId, HubHostname, ModuleId};

use super::transport::HubTransport;
use crate::assignment::Assignment;
use crate::attestation::proof::proof;
use crate::attestation::{Attestation, ClientIdentity, Proof};
#[cfg(feature = "certificates")]
use crate::certificate::{IssuedCertificate, keeper::HubCredentials};
use crate::client::ProvisioningClient;
use crate::error::{Error, ErrorKind};
use crate::host::Host;
use crate::transport::{AGENT, Endpoint, LIFETIME};
use crate::{Proxy, Roots};

const MIN_TOKEN_LIFETIME: Duration = Duration::from_secs(1);
/// The upper limit for durations that the caller sets, so that adding one to a point in time cannot overflow.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An IoT hub with the device's credentials for it. [`ProvisioningClient::hub`] creates it.
///
/// The device authenticates to its hub with the credentials that it uses for DPS: the same key, the same certificate, the same
/// signer, or the hub key that its TPM received. Roots, proxy, clock and request timeout are those of the client unless they are
/// set here.
///
/// [`connect`](Self::connect) opens a connection for everything that a device does at its hub.
///
/// # Another MQTT client
///
/// The values that any MQTT client needs are available here. A hub keeps one connection for each device: a newer one closes the
/// older, so use either `connect` or the other client. The other client must do the following itself:
///
/// * Connect with a clean session, MQTT 3.1.1, and a keep-alive of at most 1,177 seconds.
/// * Publish telemetry to the [`events_topic`](Self::events_topic), with QoS 0 or 1. A hub closes the connection if a client
///   publishes with QoS 2 or to an unknown topic.
/// * Subscribe to the [`message_filter`](Self::message_filter) for messages from the cloud.
/// * Before the password expires, request a new one and connect again with it, because the hub closes the connection then.
/// * If the hub refuses the device, call [`ProvisionedDevice::reprovision`](crate::ProvisionedDevice::reprovision).
///
/// ```no_run
/// # async fn settings(hub: dps_device::HubEndpoint) -> Result<(), dps_device::Error> {
/// let (host, port) = (hub.host(), hub.port());
/// let (client_id, username) = (hub.client_id(), hub.username());
/// let tls = hub.tls_config()?;
/// if let Some(password) = hub.password().await? {
///     // The hub closes the connection at this time: request a new password before, and reconnect with it.
///     let (text, until) = (password.reveal(), password.expires_at());
/// }
/// # Ok(())
/// # }
/// ```
///
/// It holds no connection, and clones are cheap.
#[derive(Clone)]
pub struct HubEndpoint {
    attestation: Arc<dyn Attestation>,
    on_secondary: bool,
    pub(super) endpoint: Endpoint,
    pub(super) hub: HubHostname,
    pub(super) device_id: DeviceId,
    pub(super) module_id: Option<ModuleId>,
    profile: Option<ConnectionProfile>,
    /// The device requests new certificates here.
    #[cfg(feature = "certificates")]
    pub(super) renews_here: bool,
    model_id: Option<String>,
    pub(super) transport: HubTransport,
    pub(super) token_lifetime: Duration,
    pub(super) min_interval: Duration,
    pub(super) jitter: Duration,
}

impl ProvisioningClient {
    /// The hub that the device is assigned to, with the device's credentials for it.
    pub fn hub(&self, assignment: &Assignment) -> HubEndpoint {
        self.hub_at(assignment.hub().clone(), assignment.device_id().clone())
            .with_profile(assignment.connection_profile().cloned())
    }

    /// A hub that is already known. [`ProvisionedDevice`](crate::ProvisionedDevice) stores the assignment for you.
    pub fn hub_at(&self, hub: HubHostname, device_id: DeviceId) -> HubEndpoint {
        let mut endpoint = self.target.endpoint.clone();
        endpoint.host = Host::from(&hub);
        HubEndpoint {
            attestation: self.attestation.clone(),
            on_secondary: false,
            endpoint,
            hub,
            device_id,
            module_id: None,
            profile: None,
            #[cfg(feature = "certificates")]
            renews_here: false,
            model_id: None,
            transport: HubTransport::default(),
            token_lifetime: LIFETIME,
            min_interval: self.min_poll_interval,
            jitter: Duration::ZERO,
        }
    }
}

/// Settings.
impl HubEndpoint {
    /// Uses this transport. The default is [`Mqtt`](crate::Mqtt).
    #[must_use]
    pub fn with_transport(mut self, transport: impl Into<HubTransport>) -> Self {
        self.transport = transport.into();
        self
    }

    /// Connects to this host, a name or an address without a port, instead of the hub's own name: a gateway or an emulator. The
    /// username and the token still name the hub.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<Host>) -> Self {
        self.endpoint.host = host.into();
        self
    }

    /// Trusts these root certificates when connecting to the hub.
    #[must_use]
    pub fn with_roots(mut self, roots: Roots) -> Self {
        self.endpoint.set_roots(roots);
        self
    }

    /// Connects through this proxy.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.endpoint.proxy = Some(proxy);
        self
    }

    /// Uses this issued certificate instead of the attestation that the device has for DPS.
    #[cfg(feature = "certificates")]
    #[must_use]
    pub fn with_certificate(mut self, certificate: &IssuedCertificate) -> Self {
        self.attestation = Arc::new(certificate.clone());
        self.on_secondary = false;
        self
    }

    /// Announces the device's IoT Plug and Play model, such as `dtmi:com:example:Toaster;1`.
    #[must_use]
    pub fn with_model_id(mut self, model: impl Into<String>) -> Self {
        self.model_id = Some(model.into());
        self
    }

    /// Connects as this module of the device, with the module's credentials. Modules have their own keys in the hub; DPS does not
    /// provision them. The registration id of the attestation is not used.
    #[must_use]
    pub fn with_module(
        mut self,
        module_id: ModuleId,
        credentials: impl Attestation + 'static,
    ) -> Self {
        self.module_id = Some(module_id);
        self.attestation = Arc::new(credentials);
        self.on_secondary = false;
        self
    }

    /// Sets how long a password is valid: from one second to one year. The default is an hour.
    ///
    /// A hub closes the connection when the password expires. A connection is therefore replaced before that: when a tenth of the
    /// lifetime is left, and for lifetimes under ten seconds when a second or half of the lifetime is left, whichever is shorter.
    /// From then on it sends nothing new, and it is replaced when nothing is in progress, or when half of that time has passed.
    #[must_use]
    pub fn with_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime.clamp(MIN_TOKEN_LIFETIME, YEAR);
        self
    }

    /// Spreads the reconnects of a fleet: after a lost connection the device waits for a random time up to this one, in addition
    /// to the usual wait. At most a year; the default is zero. A good value is the number of devices divided by the number of
    /// connections that the hub allows per second.
    ///
    /// Source: azure-docs `iot-dps/concepts-deploy-at-scale.md`.
    #[must_use]
    pub fn with_jitter(mut self, max: Duration) -> Self {
        self.jitter = max.min(YEAR);
        self
    }

    /// The same hub with the device's second proof, for use when the hub refuses the first. `None` if the device has one proof,
    /// or if this already is the second.
    #[must_use]
    pub fn secondary(&self) -> Option<Self> {
        self.other_proof().filter(|other| other.on_secondary)
    }
}

/// The values that an MQTT client needs.
impl HubEndpoint {
    /// The host name of the hub.
    pub fn hostname(&self) -> &HubHostname {
        &self.hub
    }

    /// The device id in the hub.
    pub fn device_id(&self) -> &DeviceId {
        &self.device_id
    }

    /// The host to connect to: the hub, or the host that [`with_host`](Self::with_host) set.
    pub fn host(&self) -> &str {
        self.endpoint.host.as_str()
    }

    /// The port of the transport: 8883 by default, and 443 for WebSocket.
    pub fn port(&self) -> u16 {
        self.transport.port()
    }

    /// The path of the WebSocket request, whose subprotocol is `mqtt`. `None` for MQTT without WebSocket.
    pub fn websocket_path(&self) -> Option<&'static str> {
        self.transport.websocket_path()
    }

    /// The module that the device connects as, if it connects as a module.
    pub fn module_id(&self) -> Option<&ModuleId> {
        self.module_id.as_ref()
    }

    /// The MQTT client identifier: the device id, or `{device id}/{module id}`.
    pub fn client_id(&self) -> String {
        hub::client_id(&self.device_id, self.module_id.as_ref())
    }

    /// The MQTT username.
    pub fn username(&self) -> String {
        let mut username =
            Username::new(self.hub.clone(), self.device_id.clone()).with_client_type(AGENT);
        username.module_id.clone_from(&self.module_id);
        username.model_id.clone_from(&self.model_id);
        username.to_string()
    }

    /// The topic for a message of the device with these properties.
    ///
    /// ```
    /// # fn topic(hub: dps_device::HubEndpoint) -> String {
    /// use dps_types::protocol::hub_message::{PropertyBag, property};
    ///
    /// let mut properties = PropertyBag::new();
    /// properties.insert(property::CONTENT_TYPE, "application/json");
    /// properties.insert(property::CONTENT_ENCODING, "utf-8");
    /// hub.events_topic(properties)
    /// # }
    /// ```
    pub fn events_topic(&self, properties: PropertyBag) -> String {
        EventsTopic::new(self.device_id.clone(), self.module_id.clone(), properties).to_string()
    }

    /// The topic filter for messages to the device, or to the module.
    pub fn message_filter(&self) -> String {
        match &self.module_id {
            Some(module_id) => module_filter(&self.device_id, module_id),
            None => devicebound_filter(&self.device_id),
        }
    }

    /// The configuration for rustls: the trusted roots, and the device's certificate if it has one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if there are no usable roots.
    pub fn tls_config(&self) -> Result<rustls::ClientConfig, Error> {
        Ok(self.endpoint.client_config(self.identity())?)
    }

    /// Uses these credentials, and not those of an earlier call.
    #[cfg(feature = "certificates")]
    pub(super) fn with_credentials(
        mut self,
        credentials: HubCredentials,
        renews_here: bool,
    ) -> Self {
        self.attestation = Arc::new(credentials);
        self.on_secondary = false;
        self.renews_here = renews_here;
        self
    }

    /// Sets the connection profile of the hub, which DPS returns with an assignment. `None` is the classic profile.
    pub(super) fn with_profile(mut self, profile: Option<ConnectionProfile>) -> Self {
        self.profile = profile;
        self
    }

    /// A client must not guess how to connect to a hub with another profile.
    pub(super) fn check_profile(&self) -> Result<(), Error> {
        match &self.profile {
            None | Some(ConnectionProfile::Classic) => Ok(()),
            Some(other) => Err(Error::new(
                ErrorKind::ConnectionProfile,
                format!(
                    "the hub {} requires the connection profile {:?}: this client connects to hubs with the profile \"classic\"",
                    self.hub,
                    other.as_str()
                ),
            )),
        }
    }

    /// The same hub with the proof that is not in use. `None` if the device has one proof.
    pub(super) fn other_proof(&self) -> Option<Self> {
        let has_two = self.attestation.secondary_proof().is_some();
        has_two.then(|| Self {
            on_secondary: !self.on_secondary,
            ..self.clone()
        })
    }

    /// True if both name the same device or module in the same hub.
    pub(super) fn is_same_device(&self, other: &Self) -> bool {
        self.hub == other.hub
            && self.device_id == other.device_id
            && self.module_id == other.module_id
    }

    pub(super) fn identity(&self) -> Option<&ClientIdentity> {
        match self.proof() {
            Proof::Certificate(identity) => Some(identity),
            _ => None,
        }
    }

    pub(super) fn proof(&self) -> Proof<'_> {
        proof(&*self.attestation, self.on_secondary)
    }
}

impl fmt::Debug for HubEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubEndpoint")
            .field("hub", &self.hub)
            .field("device_id", &self.device_id)
            .field("module_id", &self.module_id)
            .field("profile", &self.profile)
            .field("model_id", &self.model_id)
            .field("endpoint", &self.endpoint)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
