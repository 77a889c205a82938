//! The transports to a hub, which are the MQTT transports to DPS.

#[cfg(feature = "websocket")]
use dps_types::protocol::mqtt::WEBSOCKET_PATH;

use crate::attestation::ClientIdentity;
#[cfg(feature = "websocket")]
use crate::transport::MqttWebSocket;
use crate::transport::{Endpoint, Mqtt, MqttTransport, Stream, TransportError};

/// A transport to a hub: [`Mqtt`] on port 8883, which is the default, or `MqttWebSocket` on port 443.
///
/// Both convert into it, so pass them to [`HubEndpoint::with_transport`](crate::HubEndpoint::with_transport) as they are.
#[derive(Debug, Clone, Copy)]
pub struct HubTransport(Kind);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Mqtt(Mqtt),
    #[cfg(feature = "websocket")]
    WebSocket(MqttWebSocket),
}

impl HubTransport {
    pub(super) fn port(self) -> u16 {
        self.transport().port()
    }

    pub(super) fn websocket_path(self) -> Option<&'static str> {
        match self.0 {
            Kind::Mqtt(_) => None,
            #[cfg(feature = "websocket")]
            Kind::WebSocket(_) => Some(WEBSOCKET_PATH),
        }
    }

    /// Opens a stream to the host. The caller sets the time limit.
    pub(super) async fn stream(
        self,
        endpoint: &Endpoint,
        identity: Option<&ClientIdentity>,
    ) -> Result<Box<dyn Stream>, TransportError> {
        self.transport().stream(endpoint, identity).await
    }

    fn transport(&self) -> &dyn MqttTransport {
        match &self.0 {
            Kind::Mqtt(mqtt) => mqtt,
            #[cfg(feature = "websocket")]
            Kind::WebSocket(websocket) => websocket,
        }
    }
}

impl Default for HubTransport {
    fn default() -> Self {
        Mqtt::default().into()
    }
}

impl From<Mqtt> for HubTransport {
    fn from(mqtt: Mqtt) -> Self {
        Self(Kind::Mqtt(mqtt))
    }
}

#[cfg(feature = "websocket")]
impl From<MqttWebSocket> for HubTransport {
    fn from(websocket: MqttWebSocket) -> Self {
        Self(Kind::WebSocket(websocket))
    }
}
