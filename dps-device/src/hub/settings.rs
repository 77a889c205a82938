//! How to reach the assigned hub: where it is, and who the device is there.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use dps_types::protocol::hub::{Username, resource};
use dps_types::sas::{SasToken, SasTokenBuilder, Sign, SignError, Signature};
use dps_types::{DeviceId, HubHostname};
use zeroize::Zeroizing;

use super::connection::HubConnection;
use super::transport::HubTransport;
use crate::assignment::Assignment;
use crate::attestation::proof::proof;
use crate::attestation::{Attestation, ClientIdentity, Proof, TpmKeys};
use crate::client::ProvisioningClient;
use crate::error::Error;
use crate::host::Host;
use crate::transport::{AGENT, Endpoint, LIFETIME, TransportError, sign};
use crate::{Proxy, Roots};

/// What is longer cannot always be counted.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An IoT hub as its device reaches it: from [`ProvisioningClient::hub`].
///
/// The device proves itself to its hub with what it proves itself to DPS with: the same key, the same certificate, the same
/// signer, or the hub key that its TPM was given. Roots, proxy, clock and time limits are those of the client, too, until
/// they are set here.
///
/// [`connect`](Self::connect) opens a small connection for the twin. For anything else take an MQTT client of your choice:
/// what it needs is here as plain values.
///
/// ```no_run
/// # async fn settings(hub: dps_device::HubEndpoint) -> Result<(), dps_device::Error> {
/// let (host, port) = (hub.host(), hub.port());
/// let (client_id, username) = (hub.client_id(), hub.username());
/// let tls = hub.tls_config()?;
/// if let Some(password) = hub.password().await? {
///     // It is good until then: ask for another one before, and connect anew.
///     let (text, until) = (password.reveal(), password.expires_at());
/// }
/// # Ok(())
/// # }
/// ```
///
/// It holds no connection, lives as long as you like, and clones are cheap.
#[derive(Clone)]
pub struct HubEndpoint {
    attestation: Arc<dyn Attestation>,
    on_secondary: bool,
    pub(super) endpoint: Endpoint,
    hub: HubHostname,
    device_id: DeviceId,
    model_id: Option<String>,
    pub(super) carrier: HubTransport,
    pub(super) token_lifetime: Duration,
    pub(super) min_interval: Duration,
    pub(super) deadline: Duration,
    pub(super) jitter: Duration,
}

impl ProvisioningClient {
    /// The hub that the device is assigned to, with the device's credentials for it.
    pub fn hub(&self, assignment: &Assignment) -> HubEndpoint {
        self.hub_at(assignment.hub().clone(), assignment.device_id().clone())
    }

    /// A hub that is known from before. [`ProvisionedDevice`](crate::ProvisionedDevice) remembers it for you.
    pub fn hub_at(&self, hub: HubHostname, device_id: DeviceId) -> HubEndpoint {
        let mut endpoint = self.target.endpoint.clone();
        endpoint.host = Host::from(&hub);
        HubEndpoint {
            attestation: self.attestation.clone(),
            on_secondary: false,
            endpoint,
            hub,
            device_id,
            model_id: None,
            carrier: HubTransport::default(),
            token_lifetime: LIFETIME,
            min_interval: self.min_poll_interval,
            deadline: Self::DEFAULT_DEADLINE,
            jitter: Duration::ZERO,
        }
    }
}

/// Choices.
impl HubEndpoint {
    /// Goes over this carrier. The default is [`Mqtt`](crate::Mqtt).
    #[must_use]
    pub fn with_transport(mut self, carrier: impl Into<HubTransport>) -> Self {
        self.carrier = carrier.into();
        self
    }

    /// Connects to this host, a name or an address without a port, and still means the hub: a gateway, or an emulator.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<Host>) -> Self {
        self.endpoint.host = host.into();
        self
    }

    /// Whom to trust at the hub.
    #[must_use]
    pub fn with_roots(mut self, roots: Roots) -> Self {
        self.endpoint.set_roots(roots);
        self
    }

    /// Goes through this proxy.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.endpoint.proxy = Some(proxy);
        self
    }

    /// The device's IoT Plug and Play model, such as `dtmi:com:example:Toaster;1`.
    #[must_use]
    pub fn with_model_id(mut self, model: impl Into<String>) -> Self {
        self.model_id = Some(model.into());
        self
    }

    /// How long a password is good for, a second at least and a year at most. The default is an hour. A hub closes the
    /// connection at its end, so a connection of ours is made anew when a tenth of it is left.
    #[must_use]
    pub fn with_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime.clamp(Duration::from_secs(1), YEAR);
        self
    }

    /// How long a [`HubConnection`] tries to get through before it gives up. The default is
    /// [`ProvisioningClient::DEFAULT_DEADLINE`].
    #[must_use]
    pub fn with_timeout(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// Spreads the reconnects of a fleet: a lost connection is made again after a random wait up to this, on top of the usual
    /// one, a year at most. Take the number of devices divided by the connections that the hub allows per second. The default is
    /// nothing.
    ///
    /// Source: azure-docs `iot-dps/concepts-deploy-at-scale.md`.
    #[must_use]
    pub fn with_jitter(mut self, most: Duration) -> Self {
        self.jitter = most.min(YEAR);
        self
    }

    /// The same with the second proof of the device, for when the hub refuses the first one. `None` where there is none.
    #[must_use]
    pub fn secondary(&self) -> Option<Self> {
        self.other().filter(|other| other.on_secondary)
    }
}

/// What any MQTT client needs.
impl HubEndpoint {
    /// The hub.
    pub fn hostname(&self) -> &HubHostname {
        &self.hub
    }

    /// The device's name in the hub.
    pub fn device_id(&self) -> &DeviceId {
        &self.device_id
    }

    /// The host to connect to: that of the hub, unless another one was set.
    pub fn host(&self) -> &str {
        self.endpoint.host.as_str()
    }

    /// The port of the carrier: 8883, and 443 for WebSocket.
    pub fn port(&self) -> u16 {
        self.carrier.port()
    }

    /// The path to ask a WebSocket for, with the subprotocol `mqtt`. `None` for MQTT without WebSocket.
    pub fn websocket_path(&self) -> Option<&'static str> {
        self.carrier.websocket_path()
    }

    /// The client identifier of MQTT: the device id.
    pub fn client_id(&self) -> &str {
        self.device_id.as_str()
    }

    /// The username of MQTT.
    pub fn username(&self) -> String {
        let mut username =
            Username::new(self.hub.clone(), self.device_id.clone()).with_client_type(AGENT);
        username.model_id.clone_from(&self.model_id);
        username.to_string()
    }

    /// A new password, which is a SAS token. `None` for a device that shows a certificate.
    ///
    /// # Errors
    /// [`ErrorKind::Signing`](crate::ErrorKind::Signing) when the key cannot sign.
    pub async fn password(&self) -> Result<Option<HubPassword>, Error> {
        let token = self.token().await?;
        Ok(token.map(|token| HubPassword {
            text: token.reveal(),
            expires_at: token.expires_at(),
        }))
    }

    /// What rustls needs: whom to trust, and the device's certificate where it has one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when there are no usable roots.
    pub fn tls_config(&self) -> Result<rustls::ClientConfig, Error> {
        Ok(self.endpoint.client_config(self.identity())?)
    }

    /// Connects, and keeps at it until the deadline.
    ///
    /// # Errors
    /// As [`HubConnection`] says.
    pub async fn connect(&self) -> Result<HubConnection, Error> {
        let mut connection = HubConnection::new(self.clone());
        connection.link().await?;
        Ok(connection)
    }

    /// The same with the other proof of the two.
    pub(super) fn other(&self) -> Option<Self> {
        let has_two = self.attestation.secondary_proof().is_some();
        has_two.then(|| Self {
            on_secondary: !self.on_secondary,
            ..self.clone()
        })
    }

    pub(super) fn identity(&self) -> Option<&ClientIdentity> {
        match self.proof() {
            Proof::Certificate(identity) => Some(identity),
            _ => None,
        }
    }

    pub(super) async fn token(&self) -> Result<Option<SasToken>, TransportError> {
        let resource = resource(&self.hub, &self.device_id);
        let now = self.endpoint.clock.now();
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let claim = SasTokenBuilder::new(&resource, (now + self.token_lifetime).as_secs());
        match self.proof() {
            Proof::Certificate(_) => Ok(None),
            Proof::SharedKey(signer) => sign(claim, signer).await.map(Some),
            Proof::Tpm(tpm) => sign(claim, &HubKey(tpm)).await.map(Some),
        }
    }

    fn proof(&self) -> Proof<'_> {
        proof(&*self.attestation, self.on_secondary)
    }
}

impl fmt::Debug for HubEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubEndpoint")
            .field("hub", &self.hub)
            .field("device_id", &self.device_id)
            .field("model_id", &self.model_id)
            .field("endpoint", &self.endpoint)
            .field("carrier", &self.carrier)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A password for a hub, which expires. Debug does not show it.
#[derive(Clone)]
pub struct HubPassword {
    text: Zeroizing<String>,
    expires_at: SystemTime,
}

impl HubPassword {
    /// The text. It is the secret itself.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The end of it, by the client's [`Clock`](crate::Clock): the hub closes the connection then.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

impl fmt::Debug for HubPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubPassword")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The hub key of a TPM, whatever challenge is open.
struct HubKey<'a>(&'a dyn TpmKeys);

#[async_trait]
impl Sign for HubKey<'_> {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.0.sign_for_hub(data).await
    }
}
