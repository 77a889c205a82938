//! MQTT over TLS.

use async_trait::async_trait;

use super::endpoint::Endpoint;
use super::mqtt_connection::Stream;
use super::mqtt_session::{self, Credentials};
use super::{Session, Target, Transport, TransportError, stream};
use crate::attestation::{ClientIdentity, Proof};

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
        stream::connect(endpoint, self.port, identity).await
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
        let stream = self
            .stream(target.endpoint(), credentials.identity())
            .await?;
        mqtt_session::open(stream, target, credentials).await
    }
}
