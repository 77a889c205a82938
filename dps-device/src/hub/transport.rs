//! How the bytes get to a hub: the carriers of MQTT that DPS is reached over, too.

#[cfg(feature = "websocket")]
use dps_types::protocol::mqtt::WEBSOCKET_PATH;

use crate::attestation::ClientIdentity;
#[cfg(feature = "websocket")]
use crate::transport::MqttWebSocket;
use crate::transport::{Endpoint, Mqtt, MqttTransport, Stream, TransportError};

/// A carrier of MQTT: [`Mqtt`] on port 8883, which is the default, or `MqttWebSocket` on port 443.
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
        match self.0 {
            Kind::Mqtt(mqtt) => mqtt.port(),
            #[cfg(feature = "websocket")]
            Kind::WebSocket(websocket) => websocket.port(),
        }
    }

    pub(super) fn websocket_path(self) -> Option<&'static str> {
        match self.0 {
            Kind::Mqtt(_) => None,
            #[cfg(feature = "websocket")]
            Kind::WebSocket(_) => Some(WEBSOCKET_PATH),
        }
    }

    pub(super) async fn stream(
        self,
        endpoint: &Endpoint,
        identity: Option<&ClientIdentity>,
    ) -> Result<Box<dyn Stream>, TransportError> {
        match self.0 {
            Kind::Mqtt(mqtt) => mqtt.stream(endpoint, identity).await,
            #[cfg(feature = "websocket")]
            Kind::WebSocket(websocket) => websocket.stream(endpoint, identity).await,
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
