//! A registration over MQTT.
//!
//! One request is under way at a time. Its answer is known by the `$rid` in the topic, and by nothing else: not by its
//! place among the packets, nor by whether our publish was acknowledged before.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`.

use async_trait::async_trait;
use dps_mqtt::{Connect, Publish};
use dps_types::protocol::mqtt::{RESPONSE_FILTER, RequestTopic, ResponseTopic, Username};
use dps_types::protocol::parse_retry_after;
use dps_types::{OperationId, RegistrationRequest};
use tracing::debug;

use super::mqtt_connection::{AGENT, KEEP_ALIVE, MqttConnection, Stream, request_id};
use super::token::Token;
use super::{Reply, Session, Target, TransportError};
use crate::attestation::{ClientIdentity, Proof};
use crate::error::ErrorKind;

/// A proof that MQTT can carry.
pub(super) enum Credentials<'a> {
    Certificate(&'a ClientIdentity),
    Token(Token<'a>),
}

impl<'a> Credentials<'a> {
    pub(super) fn new(proof: Proof<'a>, target: &'a Target) -> Result<Self, TransportError> {
        match proof {
            Proof::Certificate(identity) => Ok(Self::Certificate(identity)),
            Proof::SharedKey(signer) => Ok(Self::Token(Token::new(signer, target))),
            Proof::Tpm(_) => Err(TransportError::new(
                ErrorKind::Unsupported,
                "DPS takes no proof of a TPM over MQTT: use HTTPS",
            )),
        }
    }

    pub(super) fn identity(&self) -> Option<&'a ClientIdentity> {
        match self {
            Self::Certificate(identity) => Some(identity),
            Self::Token(_) => None,
        }
    }
}

/// Introduces the device and subscribes to the answers.
pub(super) async fn open<'a>(
    stream: Box<dyn Stream>,
    target: &'a Target,
    mut credentials: Credentials<'a>,
) -> Result<Box<dyn Session + 'a>, TransportError> {
    let connect = connect(target, &mut credentials).await?;
    let patience = target.request_timeout();
    let connection = MqttConnection::open(stream, connect, &[RESPONSE_FILTER], patience).await?;
    Ok(Box::new(MqttSession {
        target,
        credentials,
        connection,
    }))
}

async fn connect(
    target: &Target,
    credentials: &mut Credentials<'_>,
) -> Result<Connect, TransportError> {
    let username = Username::new(
        target.id_scope().clone(),
        target.registration_id().clone(),
        target.api_version(),
    )
    .with_client_version(AGENT);
    let mut connect = Connect::new(target.registration_id().as_str());
    connect.username = Some(username.to_string());
    if let Credentials::Token(token) = credentials {
        connect.password = Some(token.text().await?);
    }
    Ok(connect)
}

struct MqttSession<'a> {
    target: &'a Target,
    credentials: Credentials<'a>,
    connection: MqttConnection,
}

#[async_trait]
impl Session for MqttSession<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        let json = serde_json::to_vec(body).map_err(|error| {
            TransportError::new(
                ErrorKind::InvalidConfiguration,
                "the request cannot be written",
            )
            .with_source(error)
        })?;
        let rid = request_id()?;
        let topic = RequestTopic::Register { rid: rid.clone() };
        self.ask(topic, json, &rid).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        let rid = request_id()?;
        let topic = RequestTopic::OperationStatus {
            rid: rid.clone(),
            operation_id: operation.clone(),
        };
        self.ask(topic, Vec::new(), &rid).await
    }

    /// Between two requests nobody drives the connection, so it may pass the keep-alive, after which the service may close
    /// it. A new connection is then better than a ping: the device may sleep in between.
    fn is_stale(&self) -> bool {
        let expires = match &self.credentials {
            Credentials::Certificate(_) => false,
            Credentials::Token(token) => token.is_stale(),
        };
        expires || self.connection.silence() > KEEP_ALIVE
    }
}

impl MqttSession<'_> {
    /// Publishes a request and waits for the answer with its mark. All other answers are for requests that were given up.
    async fn ask(
        &mut self,
        topic: RequestTopic,
        body: Vec<u8>,
        rid: &str,
    ) -> Result<Reply, TransportError> {
        self.connection.publish(topic.to_string(), body).await?;
        loop {
            let publish = self.connection.message().await?;
            match publish.topic.parse::<ResponseTopic>() {
                Ok(topic) if topic.rid == rid => return Ok(self.reply(topic, &publish)),
                Ok(_) => debug!("an answer to another request was passed over"),
                Err(error) => debug!(%error, "a message that is no answer was passed over"),
            }
        }
    }

    fn reply(&self, topic: ResponseTopic, publish: &Publish) -> Reply {
        let mut reply = Reply::new(topic.status, publish.payload.as_ref());
        reply.retry_after = topic
            .retry_after
            .and_then(|text| parse_retry_after(&text, self.target.clock().now()));
        reply
    }
}
