//! AMQP over TLS.

use async_trait::async_trait;

use super::amqp_session::{self, Credentials};
use super::error::TransportError;
use super::session::{Session, Transport};
use super::stream;
use super::target::Target;
use crate::attestation::proof::Proof;

/// The port of AMQP over TLS.
const PORT: u16 = 5671;

/// AMQP 1.0 over TLS, for symmetric keys, certificates and TPMs.
///
/// A session is one connection. When more than three minutes pass between two requests, or the SAS token of the connection
/// is about to expire, the next request uses a new connection.
///
/// ```
/// use dps_device::Amqp;
///
/// let transport = Amqp::default(); // port 5671
/// # drop(transport);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Amqp {
    port: u16,
}

impl Amqp {
    /// Connects to this port. The default is 5671.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

impl Default for Amqp {
    fn default() -> Self {
        Self { port: PORT }
    }
}

#[async_trait]
impl Transport for Amqp {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        let credentials = Credentials::new(proof, target)?;
        let stream = stream::connect(&target.endpoint, self.port, credentials.identity()).await?;
        amqp_session::open(stream, target, credentials).await
    }
}
