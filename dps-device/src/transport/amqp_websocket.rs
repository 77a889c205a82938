//! AMQP over WebSocket.

use async_trait::async_trait;
use dps_types::protocol::amqp::{WEBSOCKET_PATH, WEBSOCKET_PROTOCOL};

use super::amqp_session::{self, Credentials, MAX_MESSAGE};
use super::error::TransportError;
use super::session::{Session, Transport};
use super::stream;
use super::target::Target;
use super::web_socket::{self, PORT};
use crate::attestation::proof::Proof;

/// AMQP 1.0 over WebSocket over TLS, for symmetric keys, certificates and TPMs. It does what [`Amqp`](super::Amqp) does, for
/// networks that allow only port 443.
///
/// ```
/// use dps_device::AmqpWebSocket;
///
/// let transport = AmqpWebSocket::default(); // port 443
/// # drop(transport);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct AmqpWebSocket {
    port: u16,
}

impl AmqpWebSocket {
    /// Connects to this port. The default is 443.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

impl Default for AmqpWebSocket {
    fn default() -> Self {
        Self { port: PORT }
    }
}

#[async_trait]
impl Transport for AmqpWebSocket {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        let credentials = Credentials::new(proof, target)?;
        let stream = stream::connect(&target.endpoint, self.port, credentials.identity()).await?;
        let stream = web_socket::upgrade(
            stream,
            (target.host(), self.port),
            (WEBSOCKET_PATH, WEBSOCKET_PROTOCOL),
            MAX_MESSAGE,
        )
        .await?;
        amqp_session::open(stream, target, credentials).await
    }
}
