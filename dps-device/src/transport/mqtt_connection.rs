//! One MQTT connection of a device, to DPS or to a hub, over any byte stream.
//!
//! Source: OASIS, MQTT Version 3.1.1.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use dps_mqtt::{Connect, ConnectCode, Packet, Packets, Publish, QoS};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

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

/// The maximum number of messages that may arrive before a subscription is confirmed. A hub keeps 50 messages for a device.
const MAX_EARLY: usize = 64;

/// A connection that is connected and subscribed. It has no background task: pings are sent while a caller waits.
///
/// The caller chooses packet ids, acknowledges messages, and reads acknowledgements.
pub(crate) struct MqttConnection {
    packets: Packets<Box<dyn Stream>>,
    /// The limit for the peer to accept a packet, and to answer a ping.
    timeout: Duration,
    last_sent: Instant,
    pong_due: Option<Instant>,
    /// Pings without an answer.
    pings: u32,
    /// The packet ids of messages that the peer has not acknowledged.
    unacknowledged: HashSet<u16>,
    /// Messages that arrived before the subscription was confirmed.
    early: VecDeque<Publish>,
}

impl MqttConnection {
    /// The last packet id that this type uses itself.
    pub(crate) const LAST_OWN_ID: u16 = SUBSCRIBE_ID;

    /// Sends CONNECT and SUBSCRIBE and checks the answers. The first filter is required. The keep-alive of `connect` is replaced by [`KEEP_ALIVE`].
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
            pong_due: None,
            pings: 0,
            unacknowledged: HashSet::new(),
            early: VecDeque::new(),
        };
        connect.keep_alive = KEEP_ALIVE.as_secs() as u16;
        connection.connect(connect).await?;
        connection.subscribe(filters).await?;
        Ok(connection)
    }

    /// Publishes with QoS 1. It does not wait for the acknowledgement.
    pub(crate) async fn publish(
        &mut self,
        topic: String,
        body: Vec<u8>,
        packet_id: u16,
    ) -> Result<(), TransportError> {
        let id = Some(packet_id);
        self.unacknowledged.insert(packet_id);
        self.send(Packet::Publish(Publish::new(
            topic,
            body,
            QoS::AtLeastOnce,
            id,
        )))
        .await
    }

    /// Acknowledges a message of QoS 1.
    pub(crate) async fn acknowledge(&mut self, packet_id: u16) -> Result<(), TransportError> {
        self.send(Packet::PubAck { packet_id }).await
    }

    /// The next message or acknowledgement of one. Dropping the future loses no packet.
    pub(crate) async fn packet(&mut self) -> Result<Packet, TransportError> {
        if let Some(publish) = self.early.pop_front() {
            return Ok(Packet::Publish(publish));
        }
        let packet = self.receive().await?;
        let is_allowed = match &packet {
            Packet::Publish(_) => true,
            Packet::PubAck { packet_id } => self.unacknowledged.remove(packet_id),
            _ => false,
        };
        match is_allowed {
            true => Ok(packet),
            false => Err(unexpected()),
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
                    return check_granted(filters, &granted);
                }
                // It may arrive before the SUBACK (MQTT 3.1.1, section 3.8.4).
                Packet::Publish(publish) => self.keep_early(publish)?,
                _ => return Err(unexpected()),
            }
        }
    }

    fn keep_early(&mut self, publish: Publish) -> Result<(), TransportError> {
        if self.early.len() == MAX_EARLY {
            return Err(unexpected());
        }
        self.early.push_back(publish);
        Ok(())
    }

    /// The next packet except pings, which are sent during a long wait.
    async fn receive(&mut self) -> Result<Packet, TransportError> {
        loop {
            let until = self.pong_due.unwrap_or(self.last_sent + KEEP_ALIVE);
            let Ok(read) = timeout_at(until, self.packets.read()).await else {
                if self.pong_due.is_some() {
                    return Err(silent("the service did not answer a ping"));
                }
                self.pong_due = Some(Instant::now() + self.timeout);
                self.pings += 1;
                self.send(Packet::PingReq).await?;
                continue;
            };
            let packet = read.map_err(failure)?.ok_or_else(|| {
                TransportError::new(ErrorKind::Connect, "the service closed the connection")
            })?;
            self.pong_due = None;
            match packet {
                Packet::PingResp => {
                    self.pings = self.pings.checked_sub(1).ok_or_else(unexpected)?;
                }
                Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                    return Err(unexpected());
                }
                packet => return Ok(packet),
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

/// The first subscription is required. The server may not support the others.
fn check_granted(filters: &[&str], granted: &[Option<QoS>]) -> Result<(), TransportError> {
    if granted.len() != filters.len() {
        return Err(unexpected());
    }
    if granted.first() == Some(&None) {
        return Err(TransportError::new(
            ErrorKind::Rejected,
            "the service refused the subscription to its answers",
        ));
    }
    for (filter, granted) in filters.iter().zip(granted) {
        if granted.is_none() {
            warn!(filter, "the service refused a subscription");
        }
    }
    Ok(())
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
