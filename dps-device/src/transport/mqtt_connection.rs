//! One MQTT connection of a device, to DPS or to a hub, over any byte stream.
//!
//! Source: OASIS, MQTT Version 3.1.1.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use dps_mqtt::{Connect, ConnectCode, Packet, Packets, Publish, QoS};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::TransportError;
use super::stream::Stream;
use super::tls_failure;
use crate::error::ErrorKind;

/// The limit for one received packet. DPS allows a payload of 96 KiB, and a twin has at most 32 KiB of each kind of
/// properties. Source: azure-docs `includes/iot-dps-limits.md`, `iot-hub/iot-hub-devguide-device-twins.md`.
pub(super) const MAX_PACKET: usize = 256 * 1024;

/// The longest time without a packet from the device while a caller waits for a message.
///
/// Azure's load balancers drop an idle connection after four minutes.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(180);

const SUBSCRIBE_ID: u16 = 1;

/// A connection that is connected and subscribed. It has no task of its own: pings are sent while a caller waits.
pub(crate) struct MqttConnection {
    packets: Packets<Box<dyn Stream>>,
    /// The limit for the peer to accept a packet, and to answer a ping.
    timeout: Duration,
    last_sent: Instant,
    last_id: u16,
    pong_due: Option<Instant>,
    /// A packet that was read but not returned, because the caller dropped the future at that moment.
    held: Option<Packet>,
}

impl MqttConnection {
    /// Sends CONNECT and SUBSCRIBE and checks the answers. The keep-alive of `connect` is replaced by [`KEEP_ALIVE`].
    pub(crate) async fn open(
        stream: Box<dyn Stream>,
        mut connect: Connect,
        filters: &[&str],
        timeout: Duration,
    ) -> Result<Self, TransportError> {
        let mut connection = Self {
            packets: Packets::new(stream, MAX_PACKET),
            timeout,
            last_sent: Instant::now(),
            last_id: SUBSCRIBE_ID,
            pong_due: None,
            held: None,
        };
        connect.keep_alive = KEEP_ALIVE.as_secs() as u16;
        connection.connect(connect).await?;
        connection.subscribe(filters).await?;
        Ok(connection)
    }

    /// Publishes with QoS 1. It does not wait for the acknowledgement: the answer of the service implies it.
    pub(crate) async fn publish(
        &mut self,
        topic: String,
        body: Vec<u8>,
    ) -> Result<(), TransportError> {
        // Never zero (MQTT-2.3.1-1).
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let id = Some(self.last_id);
        self.send(Packet::Publish(Publish::new(
            topic,
            body,
            QoS::AtLeastOnce,
            id,
        )))
        .await
    }

    /// The next message. Dropping the future loses no message.
    pub(crate) async fn message(&mut self) -> Result<Publish, TransportError> {
        loop {
            match self.receive().await? {
                Packet::Publish(publish) => return Ok(publish),
                Packet::PubAck { .. } => {}
                _ => return Err(unexpected()),
            }
        }
    }

    /// The time since a packet was sent.
    pub(crate) fn silence(&self) -> Duration {
        self.last_sent.elapsed()
    }

    async fn connect(&mut self, connect: Connect) -> Result<(), TransportError> {
        self.send(Packet::Connect(connect)).await?;
        match self.receive().await? {
            Packet::ConnAck { code, .. } => check_connack(code),
            _ => Err(unexpected()),
        }
    }

    async fn subscribe(&mut self, filters: &[&str]) -> Result<(), TransportError> {
        let filter = |filter: &&str| ((*filter).to_owned(), QoS::AtLeastOnce);
        self.send(Packet::Subscribe {
            packet_id: SUBSCRIBE_ID,
            filters: filters.iter().map(filter).collect(),
        })
        .await?;
        loop {
            match self.receive().await? {
                Packet::SubAck { packet_id, granted } if packet_id == SUBSCRIBE_ID => {
                    return match granted {
                        granted if granted.len() != filters.len() => Err(unexpected()),
                        granted if granted.contains(&None) => Err(TransportError::new(
                            ErrorKind::Rejected,
                            "the service refused the subscription to its answers",
                        )),
                        _ => Ok(()),
                    };
                }
                // It may arrive before the SUBACK (MQTT 3.1.1, section 3.8.4), and cannot be an answer to a request.
                Packet::Publish(_) => {}
                _ => return Err(unexpected()),
            }
        }
    }

    /// The next packet except pings. Messages are acknowledged immediately, and pings are sent during a long wait.
    async fn receive(&mut self) -> Result<Packet, TransportError> {
        if let Some(packet) = self.held.take() {
            return Ok(packet);
        }
        loop {
            let until = self.pong_due.unwrap_or(self.last_sent + KEEP_ALIVE);
            let Ok(read) = timeout_at(until, self.packets.read()).await else {
                if self.pong_due.is_some() {
                    return Err(silent("the service did not answer a ping"));
                }
                self.pong_due = Some(Instant::now() + self.timeout);
                self.send(Packet::PingReq).await?;
                continue;
            };
            let packet = read.map_err(failure)?.ok_or_else(|| {
                TransportError::new(ErrorKind::Connect, "the service closed the connection")
            })?;
            self.pong_due = None;
            match &packet {
                Packet::PingResp => continue,
                Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                    return Err(unexpected());
                }
                Packet::Publish(Publish {
                    packet_id: Some(packet_id),
                    ..
                }) => {
                    let packet_id = *packet_id;
                    self.held = Some(packet);
                    self.send(Packet::PubAck { packet_id }).await?;
                    match self.held.take() {
                        Some(packet) => return Ok(packet),
                        None => continue,
                    }
                }
                _ => return Ok(packet),
            }
        }
    }

    /// A packet whose future is dropped halfway is completed before the next packet.
    async fn send(&mut self, packet: Packet) -> Result<(), TransportError> {
        match timeout(self.timeout, self.packets.write(packet)).await {
            Ok(written) => written.map_err(failure)?,
            Err(_) => return Err(silent("the service does not read any more")),
        }
        self.last_sent = Instant::now();
        Ok(())
    }
}

impl Drop for MqttConnection {
    /// Sends DISCONNECT if that is possible without waiting. The connection is closed in any case.
    fn drop(&mut self) {
        let disconnect = pin!(self.packets.write(Packet::Disconnect));
        let _ = disconnect.poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// Converts an error of dps-mqtt: the network, TLS, or a peer that does not speak MQTT.
fn failure(error: dps_mqtt::Error) -> TransportError {
    let (kind, what) = match (tls_failure::describe(&error), error.kind()) {
        (Some(described), _) => described,
        (None, dps_mqtt::ErrorKind::Io) => (ErrorKind::Connect, "the connection was lost".into()),
        _ => (
            ErrorKind::Protocol,
            "the peer does not speak MQTT as Azure IoT does: check the host, the port and the proxy".into(),
        ),
    };
    TransportError::new(kind, what).with_source(error)
}

fn check_connack(code: ConnectCode) -> Result<(), TransportError> {
    let (kind, what) = match code {
        ConnectCode::Accepted => return Ok(()),
        ConnectCode::UnacceptableProtocolVersion => (
            ErrorKind::Protocol,
            "the server does not speak MQTT 3.1.1 (CONNACK 1)",
        ),
        ConnectCode::IdentifierRejected => (
            ErrorKind::Rejected,
            "the MQTT client id was refused (CONNACK 2)",
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
            "the connection was refused with an unknown CONNACK code",
        ),
    };
    Err(TransportError::new(kind, what))
}

fn silent(what: &'static str) -> TransportError {
    TransportError::new(ErrorKind::Connect, what)
}

fn unexpected() -> TransportError {
    TransportError::new(
        ErrorKind::Protocol,
        "the service sent an MQTT packet that is not allowed here",
    )
}
