//! MQTT over WebSocket: the same session in another carrier.

use async_trait::async_trait;
use dps_mqtt::WebSocketIo;
use dps_types::protocol::mqtt::{WEBSOCKET_PATH, WEBSOCKET_PROTOCOL};

use super::endpoint::Endpoint;
use super::mqtt_connection::{MAX_PACKET, Stream, failure};
use super::mqtt_session::{self, Credentials};
use super::wire::bracketed;
use super::{Session, Target, Transport, TransportError, stream};
use crate::attestation::{ClientIdentity, Proof};

/// The port of HTTPS.
const PORT: u16 = 443;

/// MQTT 3.1.1 over WebSocket over TLS, for symmetric keys and certificates: what [`Mqtt`](super::Mqtt) does, for
/// networks that let only port 443 through.
#[derive(Debug, Clone, Copy)]
pub struct MqttWebSocket {
    port: u16,
}

impl MqttWebSocket {
    /// Another port than 443.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    #[cfg(feature = "hub")]
    pub(crate) fn port(self) -> u16 {
        self.port
    }

    /// A stream to this host. Whoever calls sets a time limit.
    pub(crate) async fn stream(
        self,
        endpoint: &Endpoint,
        identity: Option<&ClientIdentity>,
    ) -> Result<Box<dyn Stream>, TransportError> {
        let stream = stream::connect(endpoint, self.port, identity).await?;
        let stream = WebSocketIo::connect(
            stream,
            &self.authority(endpoint.host()),
            WEBSOCKET_PATH,
            WEBSOCKET_PROTOCOL,
            MAX_PACKET,
        )
        .await
        .map_err(failure)?;
        Ok(Box::new(stream))
    }

    /// What the `Host` header says: no port where it is the usual one (RFC 9110, section 7.2).
    fn authority(self, host: &str) -> String {
        let host = bracketed(host);
        match self.port {
            PORT => host,
            port => format!("{host}:{port}"),
        }
    }
}

impl Default for MqttWebSocket {
    fn default() -> Self {
        Self { port: PORT }
    }
}

#[async_trait]
impl Transport for MqttWebSocket {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        let credentials = Credentials::new(proof, target)?;
        let stream = self
            .stream(target.endpoint(), credentials.identity())
            .await?;
        mqtt_session::open(stream, target, credentials).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_has_a_port_only_where_it_needs_one() {
        let transport = MqttWebSocket::default();
        assert_eq!(transport.authority("dps.example"), "dps.example");
        assert_eq!(transport.authority("::1"), "[::1]");
        let transport = transport.with_port(8443);
        assert_eq!(transport.authority("dps.example"), "dps.example:8443");
        assert_eq!(transport.authority("::1"), "[::1]:8443");
    }
}
