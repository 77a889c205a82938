//! The common part of the MQTT transports, which differ only in their port and in the stream that they open.

use async_trait::async_trait;

use super::endpoint::Endpoint;
use super::error::TransportError;
use super::mqtt_session::{self, Credentials};
use super::session::Session;
use super::stream::Stream;
use super::target::Target;
use crate::attestation::identity::ClientIdentity;
use crate::attestation::proof::Proof;

/// A transport that carries MQTT, to DPS and to IoT hubs.
#[async_trait]
pub(crate) trait MqttTransport: Sync {
    /// The port of the server.
    #[cfg(feature = "hub")]
    fn port(&self) -> u16;

    /// Opens a stream to this host. The caller sets a time limit.
    async fn stream(
        &self,
        endpoint: &Endpoint,
        identity: Option<&ClientIdentity>,
    ) -> Result<Box<dyn Stream>, TransportError>;
}

/// Opens a session with DPS over a transport of MQTT.
pub(super) async fn open<'a>(
    transport: &'a dyn MqttTransport,
    target: &'a Target,
    proof: Proof<'a>,
) -> Result<Box<dyn Session + 'a>, TransportError> {
    let credentials = Credentials::new(proof, target)?;
    let stream = transport
        .stream(&target.endpoint, credentials.identity())
        .await?;
    mqtt_session::open(stream, target, credentials).await
}
