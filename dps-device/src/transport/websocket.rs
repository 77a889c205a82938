//! MQTT over WebSocket.

use async_trait::async_trait;
use dps_mqtt::WebSocketIo;
use dps_types::protocol::mqtt::{WEBSOCKET_PATH, WEBSOCKET_PROTOCOL};

use super::endpoint::Endpoint;
use super::error::TransportError;
use super::mqtt_connection::{MAX_PACKET, failure};
use super::mqtt_transport::{self, MqttTransport};
use super::session::{Session, Transport};
use super::stream::{self, Stream};
use super::target::Target;
use crate::attestation::identity::ClientIdentity;
use crate::attestation::proof::Proof;
use crate::host::Host;

/// The port of HTTPS.
const PORT: u16 = 443;

/// MQTT 3.1.1 over WebSocket over TLS, for symmetric keys and certificates. It does what [`Mqtt`](super::Mqtt) does, for
/// networks that allow only port 443.
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

    /// The value of the `Host` header, without the default port (RFC 9110, section 7.2).
    fn authority(self, host: &Host) -> String {
        match self.port {
            PORT => host.for_url().into_owned(),
            port => format!("{}:{port}", host.for_url()),
        }
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
        let stream = WebSocketIo::connect(
            stream,
            &self.authority(&endpoint.host),
            WEBSOCKET_PATH,
            WEBSOCKET_PROTOCOL,
            MAX_PACKET,
        )
        .await
        .map_err(failure)?;
        Ok(Box::new(stream))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_has_a_port_unless_it_is_the_default() {
        let (name, address) = ("dps.example".parse().unwrap(), "::1".parse().unwrap());
        let transport = MqttWebSocket::default();
        assert_eq!(transport.authority(&name), "dps.example");
        assert_eq!(transport.authority(&address), "[::1]");
        let transport = transport.with_port(8443);
        assert_eq!(transport.authority(&name), "dps.example:8443");
        assert_eq!(transport.authority(&address), "[::1]:8443");
    }
}
