//! A registration over MQTT.
//!
//! There is one request at a time. Its answer is recognized by the `$rid` in the topic only: neither the order of the
//! packets nor the acknowledgement of the request matters.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`.

use async_trait::async_trait;
use dps_mqtt::{Connect, Packet, Publish};
use dps_types::protocol::mqtt::{RESPONSE_FILTER, RequestTopic, ResponseTopic, Username};
use dps_types::protocol::parse_retry_after;
use dps_types::{ErrorCode, OperationId, RegistrationRequest};
use tracing::debug;

use super::agent::{AGENT, request_id};
use super::error::TransportError;
use super::mqtt_connection::{KEEP_ALIVE, MqttConnection};
use super::reply::Reply;
use super::session::Session;
use super::stream::Stream;
use super::target::Target;
use super::token::Token;
use crate::attestation::identity::ClientIdentity;
use crate::attestation::proof::Proof;
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
                "DPS does not accept TPM attestation over MQTT: use HTTPS",
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

/// Connects and subscribes to the answers.
pub(super) async fn open<'a>(
    stream: Box<dyn Stream>,
    target: &'a Target,
    mut credentials: Credentials<'a>,
) -> Result<Box<dyn Session + 'a>, TransportError> {
    let connect = connect(target, &mut credentials).await?;
    let timeout = target.request_timeout();
    let connection = MqttConnection::open(stream, connect, &[RESPONSE_FILTER], timeout)
        .await
        .map_err(explain_refusal)?;
    Ok(Box::new(MqttSession {
        target,
        credentials,
        connection,
        last_id: MqttConnection::LAST_OWN_ID,
    }))
}

/// Adds the hint that an answer over HTTPS has.
fn explain_refusal(error: TransportError) -> TransportError {
    match (error.kind(), ErrorCode::UNAUTHORIZED.hint()) {
        (ErrorKind::Unauthorized, Some(hint)) => error.with_hint(&format!(
            "{hint}; MQTT does not carry the reason, HTTPS does: register over HTTPS to see it"
        )),
        _ => error,
    }
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
    last_id: u16,
}

#[async_trait]
impl Session for MqttSession<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        let json = serde_json::to_vec(body).map_err(|error| {
            TransportError::new(
                ErrorKind::InvalidConfiguration,
                "the request cannot be encoded",
            )
            .with_source(error)
        })?;
        let rid = request_id()?;
        let topic = RequestTopic::Register { rid: rid.clone() };
        self.exchange(topic, json, &rid).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        let rid = request_id()?;
        let topic = RequestTopic::OperationStatus {
            rid: rid.clone(),
            operation_id: operation.clone(),
        };
        self.exchange(topic, Vec::new(), &rid).await
    }

    /// Nothing sends pings between two requests, so the service may close the connection after the keep-alive. A new
    /// connection is used then, because a device may sleep between two requests.
    fn is_stale(&self) -> bool {
        let expires = match &self.credentials {
            Credentials::Certificate(_) => false,
            Credentials::Token(token) => token.is_stale(),
        };
        expires || self.connection.silence() > KEEP_ALIVE
    }
}

impl MqttSession<'_> {
    /// Publishes a request and waits for the answer with the same `$rid`. Other answers are for requests that timed out.
    async fn exchange(
        &mut self,
        topic: RequestTopic,
        body: Vec<u8>,
        rid: &str,
    ) -> Result<Reply, TransportError> {
        // Never zero (MQTT-2.3.1-1).
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let topic = topic.to_string();
        self.connection.publish(topic, body, self.last_id).await?;
        loop {
            let publish = self.message().await?;
            match publish.topic.parse::<ResponseTopic>() {
                Ok(topic) if topic.rid == rid => return Ok(self.reply(topic, &publish)),
                Ok(_) => debug!("an answer to another request was ignored"),
                Err(error) => debug!(%error, "a message that is not an answer was ignored"),
            }
        }
    }

    /// The next message, acknowledged. The answer to a request implies its acknowledgement, which is ignored.
    async fn message(&mut self) -> Result<Publish, TransportError> {
        loop {
            let Packet::Publish(publish) = self.connection.packet().await? else {
                continue;
            };
            if let Some(packet_id) = publish.packet_id {
                self.connection.acknowledge(packet_id).await?;
            }
            return Ok(publish);
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
