//! One MQTT connection of a device, whatever is said over it and whatever stream carries it.
//!
//! Source: OASIS, MQTT Version 3.1.1.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use dps_mqtt::{Connect, ConnectCode, Packet, Packets, Publish, QoS};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};

use super::{TransportError, tls_failure};
use crate::error::ErrorKind;

/// What we call ourselves.
pub(crate) const AGENT: &str = concat!("dps-device/", env!("CARGO_PKG_VERSION"));

/// The most that we take in one packet. DPS allows 96 KiB of payload, and a twin has at most 32 KiB of each kind of
/// properties. Source: azure-docs `includes/iot-dps-limits.md`, `iot-hub/iot-hub-devguide-device-twins.md`.
pub(super) const MAX_PACKET: usize = 256 * 1024;

/// How long we are silent at most, as long as somebody waits for a message.
///
/// Azure's load balancers forget an idle connection after four minutes.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(180);

const SUBSCRIBE_ID: u16 = 1;

/// Bytes in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is introduced and subscribed. Nothing goes on unless it is used: pings go out while somebody waits.
pub(crate) struct MqttConnection {
    packets: Packets<Box<dyn Stream>>,
    /// How long the other side may take to take a packet, or to answer a ping.
    patience: Duration,
    last_sent: Instant,
    last_id: u16,
    pong_due: Option<Instant>,
    /// Read, and not given out because whoever waited gave up in that moment.
    held: Option<Packet>,
}

impl MqttConnection {
    /// Introduces the device and subscribes. The keep-alive is ours.
    pub(crate) async fn open(
        stream: Box<dyn Stream>,
        mut connect: Connect,
        filters: &[&str],
        patience: Duration,
    ) -> Result<Self, TransportError> {
        let mut connection = Self {
            packets: Packets::new(stream, MAX_PACKET),
            patience,
            last_sent: Instant::now(),
            last_id: SUBSCRIBE_ID,
            pong_due: None,
            held: None,
        };
        connect.keep_alive = KEEP_ALIVE.as_secs() as u16;
        connection.introduce(connect).await?;
        connection.subscribe(filters).await?;
        Ok(connection)
    }

    /// Publishes, at least once. The acknowledgement is not waited for: an answer says more.
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

    /// The next message. Dropping the future loses none.
    pub(crate) async fn message(&mut self) -> Result<Publish, TransportError> {
        loop {
            match self.receive().await? {
                Packet::Publish(publish) => return Ok(publish),
                Packet::PubAck { .. } => {}
                _ => return Err(unexpected()),
            }
        }
    }

    /// For how long nothing was sent.
    pub(crate) fn silence(&self) -> Duration {
        self.last_sent.elapsed()
    }

    async fn introduce(&mut self, connect: Connect) -> Result<(), TransportError> {
        self.send(Packet::Connect(connect)).await?;
        match self.receive().await? {
            Packet::ConnAck { code, .. } => welcome(code),
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
                // May come before the SUBACK (MQTT 3.1.1, section 3.8.4), and answers nothing that we asked.
                Packet::Publish(_) => {}
                _ => return Err(unexpected()),
            }
        }
    }

    /// The next packet that says something. Messages are acknowledged at once, and pings go out in a long wait.
    async fn receive(&mut self) -> Result<Packet, TransportError> {
        if let Some(packet) = self.held.take() {
            return Ok(packet);
        }
        loop {
            let until = self.pong_due.unwrap_or(self.last_sent + KEEP_ALIVE);
            let Ok(read) = timeout_at(until, self.packets.read()).await else {
                if self.pong_due.is_some() {
                    return Err(silent("the service does not answer a ping"));
                }
                self.pong_due = Some(Instant::now() + self.patience);
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

    /// What is once begun goes out whole, at the latest before the next packet.
    async fn send(&mut self, packet: Packet) -> Result<(), TransportError> {
        match timeout(self.patience, self.packets.write(packet)).await {
            Ok(written) => written.map_err(failure)?,
            Err(_) => return Err(silent("the service takes nothing any more")),
        }
        self.last_sent = Instant::now();
        Ok(())
    }
}

impl Drop for MqttConnection {
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
            _ => (ErrorKind::Protocol, "there is no MQTT over WebSocket"),
        },
        _ => (
            ErrorKind::Protocol,
            "what arrived is not MQTT as Azure IoT speaks it",
        ),
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
            "the device's name was refused (CONNACK 2)",
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
pub(crate) fn request_id() -> Result<String, TransportError> {
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

fn silent(what: &'static str) -> TransportError {
    TransportError::new(ErrorKind::Connect, what)
}

fn unexpected() -> TransportError {
    TransportError::new(
        ErrorKind::Protocol,
        "the service sent a packet that has no place here",
    )
}
