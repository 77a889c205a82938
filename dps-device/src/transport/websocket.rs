//! MQTT over WebSocket.

use async_trait::async_trait;
use dps_types::protocol::mqtt::{WEBSOCKET_PATH, WEBSOCKET_PROTOCOL};

use super::endpoint::Endpoint;
use super::error::TransportError;
use super::mqtt_connection::MAX_PACKET;
use super::mqtt_transport::{self, MqttTransport};
use super::session::{Session, Transport};
use super::stream::{self, Stream};
use super::target::Target;
use super::web_socket::{self, PORT};
use crate::attestation::identity::ClientIdentity;
use crate::attestation::proof::Proof;

/// MQTT 3.1.1 over WebSocket over TLS, for symmetric keys and certificates. It does what [`Mqtt`](super::Mqtt) does, for
/// networks that allow only port 443.
///
/// ```
/// use dps_device::MqttWebSocket;
///
/// let transport = MqttWebSocket::default(); // port 443
/// # drop(transport);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MqttWebSocket {
    port: u16,
}

impl MqttWebSocket {
    /// Connects to this port. The default is 443.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

impl Default for MqttWebSocket {
    fn default() -> Self {
        Self { port: PORT }
    }
}

#[async_trait]
impl MqttTransport for MqttWebSocket {
    #[cfg(feature = "hub")]
    fn port(&self) -> u16 {
        self.port
    }

    async fn stream(
        &self,
        endpoint: &Endpoint,
        identity: Option<&ClientIdentity>,
    ) -> Result<Box<dyn Stream>, TransportError> {
        let stream = stream::connect(endpoint, self.port, identity).await?;
        web_socket::upgrade(
            stream,
            (&endpoint.host, self.port),
            (WEBSOCKET_PATH, WEBSOCKET_PROTOCOL),
            MAX_PACKET,
        )
        .await
    }
}

#[async_trait]
impl Transport for MqttWebSocket {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        mqtt_transport::open(self, target, proof).await
    }
}
