//! MQTT over TLS.

use async_trait::async_trait;

use super::endpoint::Endpoint;
use super::error::TransportError;
use super::mqtt_transport::{self, MqttTransport};
use super::session::{Session, Transport};
use super::stream::{self, Stream};
use super::target::Target;
use crate::attestation::identity::ClientIdentity;
use crate::attestation::proof::Proof;

/// The port of MQTT over TLS.
const PORT: u16 = 8883;

/// MQTT 3.1.1 over TLS, for symmetric keys and certificates.
///
/// A session is one connection. When more than three minutes pass between two requests, or the SAS token of the
/// connection is about to expire, the next request uses a new connection.
///
/// MQTT does not carry the reason of a refused connection. [`Http`](crate::Http) reports it.
///
/// ```
/// use dps_device::Mqtt;
///
/// let transport = Mqtt::default(); // port 8883
/// # drop(transport);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Mqtt {
    port: u16,
}

impl Mqtt {
    /// Connects to this port. The default is 8883.
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
impl MqttTransport for Mqtt {
    #[cfg(feature = "hub")]
    fn port(&self) -> u16 {
        self.port
    }

    async fn stream(
        &self,
        endpoint: &Endpoint,
        identity: Option<&ClientIdentity>,
    ) -> Result<Box<dyn Stream>, TransportError> {
        stream::connect(endpoint, self.port, identity).await
    }
}

#[async_trait]
impl Transport for Mqtt {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        mqtt_transport::open(self, target, proof).await
    }
}
