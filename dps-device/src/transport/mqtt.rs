//! MQTT over TLS.

use async_trait::async_trait;

use super::mqtt_session::{self, Credentials};
use super::{Session, Target, Transport, TransportError, stream};
use crate::attestation::Proof;

/// The port of MQTT over TLS.
const PORT: u16 = 8883;

/// MQTT 3.1.1 over TLS, for symmetric keys and certificates.
///
/// A session is one connection. Where more than three minutes pass between two requests, or the SAS token of the
/// connection is about to expire, the next request gets a new connection.
#[derive(Debug, Clone, Copy)]
pub struct Mqtt {
    port: u16,
}

impl Mqtt {
    /// Another port than 8883.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self { port: PORT }
    }
}

#[async_trait]
impl Transport for Mqtt {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        let credentials = Credentials::new(proof, target)?;
        let stream = stream::connect(target, self.port, credentials.identity()).await?;
        mqtt_session::open(stream, target, credentials).await
    }
}
