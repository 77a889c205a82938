//! A registration's MQTT session, over whatever stream carries it.
//!
//! One request is under way at a time. Its answer is known by the `$rid` in the topic, and by nothing else: not by its
//! place among the packets, nor by whether our publish was acknowledged before.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`; OASIS, MQTT Version 3.1.1.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use dps_mqtt::{Connect, ConnectCode, Packet, Packets, Publish, QoS};
use dps_types::protocol::mqtt::{RESPONSE_FILTER, RequestTopic, ResponseTopic, Username};
use dps_types::protocol::parse_retry_after;
use dps_types::{OperationId, RegistrationRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::token::Token;
use super::{Reply, Session, Target, TransportError, tls_failure};
use crate::attestation::{ClientIdentity, Proof};
use crate::error::ErrorKind;

const AGENT: &str = concat!("dps-device/", env!("CARGO_PKG_VERSION"));

/// The most that we take in one packet. DPS allows 96 KiB of payload. Source: azure-docs `includes/iot-dps-limits.md`.
pub(super) const MAX_PACKET: usize = 256 * 1024;

/// How long we are silent at most in a request; a connection that was silent for longer is not used again.
///
/// Between two requests nobody drives the connection, so it may pass this limit, after which the service may close it.
/// A new connection is then better than a ping: the device may sleep in between. Azure's load balancers forget an idle
/// connection after four minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(180);

const SUBSCRIBE_ID: u16 = 1;

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
pub(super) async fn open<'a, S>(
    stream: S,
    target: &'a Target,
    mut credentials: Credentials<'a>,
) -> Result<Box<dyn Session + 'a>, TransportError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'a,
{
    let connect = connect(target, &mut credentials).await?;
    let mut session = MqttSession {
        target,
        credentials,
        packets: Packets::new(stream, MAX_PACKET),
        last_sent: Instant::now(),
        last_id: SUBSCRIBE_ID,
    };
    session.introduce(connect).await?;
    session.subscribe().await?;
    Ok(Box::new(session))
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
    connect.keep_alive = KEEP_ALIVE.as_secs() as u16;
    if let Credentials::Token(token) = credentials {
        connect.password = Some(token.text().await?);
    }
    Ok(connect)
}

struct MqttSession<'a, S: AsyncWrite + Unpin> {
    target: &'a Target,
    credentials: Credentials<'a>,
    packets: Packets<S>,
    last_sent: Instant,
    last_id: u16,
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session for MqttSession<'_, S> {
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

    fn is_stale(&self) -> bool {
        let expires = match &self.credentials {
            Credentials::Certificate(_) => false,
            Credentials::Token(token) => token.is_stale(),
        };
        expires || self.last_sent.elapsed() > KEEP_ALIVE
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> MqttSession<'_, S> {
    async fn introduce(&mut self, connect: Connect) -> Result<(), TransportError> {
        self.send(Packet::Connect(connect)).await?;
        match self.receive().await? {
            Packet::ConnAck { code, .. } => welcome(code),
            _ => Err(unexpected()),
        }
    }

    async fn subscribe(&mut self) -> Result<(), TransportError> {
        self.send(Packet::Subscribe {
            packet_id: SUBSCRIBE_ID,
            filters: vec![(RESPONSE_FILTER.to_owned(), QoS::AtLeastOnce)],
        })
        .await?;
        loop {
            match self.receive().await? {
                Packet::SubAck { packet_id, granted } if packet_id == SUBSCRIBE_ID => {
                    return match granted[..] {
                        [Some(_)] => Ok(()),
                        [None] => Err(TransportError::new(
                            ErrorKind::Rejected,
                            "the service refused the subscription to its answers",
                        )),
                        _ => Err(unexpected()),
                    };
                }
                // May come before the SUBACK (MQTT 3.1.1, section 3.8.4), and answers nothing that we asked.
                Packet::Publish(_) => {}
                _ => return Err(unexpected()),
            }
        }
    }

    /// Publishes a request and waits for the answer with its mark. All other answers are for requests that were given up.
    async fn ask(
        &mut self,
        topic: RequestTopic,
        body: Vec<u8>,
        rid: &str,
    ) -> Result<Reply, TransportError> {
        let id = self.next_id();
        self.send(Packet::Publish(Publish::new(
            topic.to_string(),
            body,
            QoS::AtLeastOnce,
            Some(id),
        )))
        .await?;
        loop {
            match self.receive().await? {
                Packet::Publish(publish) => match publish.topic.parse::<ResponseTopic>() {
                    Ok(topic) if topic.rid == rid => return Ok(self.reply(topic, &publish)),
                    Ok(_) => debug!("an answer to another request was passed over"),
                    Err(error) => debug!(%error, "a message that is no answer was passed over"),
                },
                Packet::PubAck { .. } => {}
                _ => return Err(unexpected()),
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

    /// The next packet that says something. Messages are acknowledged at once, and pings go out in a long wait.
    async fn receive(&mut self) -> Result<Packet, TransportError> {
        loop {
            let Ok(read) = timeout_at(self.last_sent + KEEP_ALIVE, self.packets.read()).await
            else {
                self.send(Packet::PingReq).await?;
                continue;
            };
            let packet = read.map_err(failure)?.ok_or_else(|| {
                TransportError::new(ErrorKind::Connect, "the service closed the connection")
            })?;
            match &packet {
                Packet::PingResp => continue,
                Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                    return Err(unexpected());
                }
                Packet::Publish(publish) => {
                    if let Some(packet_id) = publish.packet_id {
                        self.send(Packet::PubAck { packet_id }).await?;
                    }
                }
                _ => {}
            }
            return Ok(packet);
        }
    }

    async fn send(&mut self, packet: Packet) -> Result<(), TransportError> {
        self.packets.write(packet).await.map_err(failure)?;
        self.last_sent = Instant::now();
        Ok(())
    }

    /// Never zero (MQTT-2.3.1-1).
    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }
}

impl<S: AsyncWrite + Unpin> Drop for MqttSession<'_, S> {
    /// Says goodbye if that can be done without waiting. The connection is closed in any case.
    fn drop(&mut self) {
        let goodbye = pin!(self.packets.write(Packet::Disconnect));
        let _ = goodbye.poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// What dps-mqtt complains about: the network, TLS, or a peer that speaks otherwise.
pub(super) fn failure(error: dps_mqtt::Error) -> TransportError {
    let (kind, what) = match error.kind() {
        dps_mqtt::ErrorKind::Io => {
            tls_failure::kind_of(&error).unwrap_or((ErrorKind::Connect, "the connection was lost"))
        }
        dps_mqtt::ErrorKind::Upgrade => match error.http_status() {
            Some(429) => (ErrorKind::Throttled, "there are too many requests"),
            Some(408 | 500..600) => (ErrorKind::Service, "the service failed"),
            _ => (ErrorKind::Protocol, "there is no WebSocket for DPS"),
        },
        _ => (ErrorKind::Protocol, "what arrived is not the MQTT of DPS"),
    };
    TransportError::new(kind, what).with_source(error)
}

fn welcome(code: ConnectCode) -> Result<(), TransportError> {
    let (kind, what) = match code {
        ConnectCode::Accepted => return Ok(()),
        ConnectCode::UnacceptableProtocolVersion => (
            ErrorKind::Protocol,
            "the server does not speak MQTT 3.1.1 (CONNACK 1)",
        ),
        ConnectCode::IdentifierRejected => (
            ErrorKind::Rejected,
            "the registration id was refused (CONNACK 2)",
        ),
        ConnectCode::ServerUnavailable => {
            (ErrorKind::Service, "the service is unavailable (CONNACK 3)")
        }
        ConnectCode::BadUsernameOrPassword => (
            ErrorKind::Unauthorized,
            "the credentials were refused (CONNACK 4)",
        ),
        ConnectCode::NotAuthorized => (
            ErrorKind::Unauthorized,
            "the credentials were refused (CONNACK 5)",
        ),
        _ => (
            ErrorKind::Protocol,
            "the connection was refused for an unknown reason",
        ),
    };
    Err(TransportError::new(kind, what))
}

/// A mark that no other request has, of this device or another.
fn request_id() -> Result<String, TransportError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        TransportError::new(
            ErrorKind::InvalidConfiguration,
            "the system has no random numbers",
        )
        .with_source(error)
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}

fn unexpected() -> TransportError {
    TransportError::new(
        ErrorKind::Protocol,
        "the service sent a packet that has no place here",
    )
}
