//! MQTT 3.1.1: one connection, from CONNECT to its end. Whose client it is, DPS's or a hub's, the username tells.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`, `iot/iot-mqtt-connect-to-iot-hub.md`.

mod dps;
mod hub;
mod request;
mod session;

use std::error::Error;
use std::io;
use std::time::Duration;

use dps_mqtt::{Connect, ConnectCode, ErrorKind, Packet, Packets, Publish, QoS};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Gateway, Peer};
use crate::attest::Presented;
use crate::service_error::ServiceError;
use session::{Answer, Message, Session};

/// The most that MQTT wraps around a message.
const ENVELOPE: usize = 32 * 1024;
/// How long a client may take to say CONNECT.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the other side may take to read what it is sent.
const WRITE: Duration = Duration::from_secs(30);
/// How long the other side may take to let us say that this is the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a connection ended: in order, or not.
pub(super) type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// Serves a connection until it ends, is broken off, or the emulator stops.
pub(super) async fn serve<S>(
    stream: S,
    gateway: &Gateway,
    peer: &Peer,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut packets = Packets::new(stream, gateway.message_limit().saturating_add(ENVELOPE));
    let ended = converse(&mut packets, gateway, peer, stop).await;
    // TLS and WebSocket have their own words for the end: without them it looks like an accident.
    let mut stream = packets.into_inner();
    let _ = timeout(FAREWELL, stream.shutdown()).await;
    ended
}

async fn converse<S>(
    packets: &mut Packets<S>,
    gateway: &Gateway,
    peer: &Peer,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        first = timeout(CONNECT, packets.read()) => first,
    };
    let connect = match first {
        Ok(Ok(Some(Packet::Connect(connect)))) => connect,
        Ok(Err(error)) if error.kind() == ErrorKind::ProtocolVersion => {
            return write(packets, refused(ConnectCode::UnacceptableProtocolVersion)).await;
        }
        Ok(Err(error)) => return Err(error.into()),
        // Nothing, too late, or something else first: a server closes without a word (MQTT-3.1.0-1).
        Ok(Ok(_)) | Err(_) => return Ok(()),
    };
    // Boxed, so that a connection at rest is no larger than what it is.
    match hub::is_for(&connect) {
        true => {
            let client = Box::pin(hub::Client::admit(gateway, peer, &connect)).await;
            Box::pin(talk(packets, client, &connect, stop)).await
        }
        false => {
            let client = Box::pin(dps::Client::admit(gateway, peer, &connect)).await;
            Box::pin(talk(packets, client, &connect, stop)).await
        }
    }
}

/// Tells the client whether it was let in, and if so, goes on.
async fn talk<S, C>(
    packets: &mut Packets<S>,
    client: Result<C, ServiceError>,
    connect: &Connect,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Session,
{
    let session = match client {
        Ok(session) => session,
        Err(refusal) => {
            tracing::debug!(
                client_id = connect.client_id,
                reason = refusal.reason(),
                "connection refused"
            );
            return write(packets, refused(ConnectCode::NotAuthorized)).await;
        }
    };
    // No sessions are kept, whatever the client asks for.
    let accepted = Packet::ConnAck {
        session_present: false,
        code: ConnectCode::Accepted,
    };
    write(packets, accepted).await?;
    Connection {
        packets,
        session,
        last_id: 0,
    }
    .run(stop)
    .await
}

/// Reads the token from the password, or else the client certificate.
fn presented<'a>(connect: &Connect, peer: &'a Peer) -> Result<Presented<'a>, ServiceError> {
    let password = connect.password.as_ref();
    let token = password.map(|password| password.as_str());
    Presented::of(token, peer.chain.as_ref())
}

/// How long a client with this keep-alive may be silent: one and a half times as long (MQTT-3.1.2-24). `None` is for ever.
fn patience(keep_alive: u16) -> Option<Duration> {
    match keep_alive {
        0 => None,
        seconds => Some(Duration::from_millis(u64::from(seconds) * 1500)),
    }
}

/// A client that does not read must not hold the connection for ever.
async fn write<S>(packets: &mut Packets<S>, packet: Packet) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(WRITE, packets.write(packet)).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

fn refused(code: ConnectCode) -> Packet {
    Packet::ConnAck {
        session_present: false,
        code,
    }
}

/// A client that is connected.
struct Connection<'a, S, C> {
    packets: &'a mut Packets<S>,
    session: C,
    last_id: u16,
}

impl<S, C> Connection<'_, S, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Session,
{
    async fn run(mut self, stop: &CancellationToken) -> Ended {
        let mut deadline = self.deadline();
        loop {
            let packet = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                message = self.session.next() => {
                    let Some(message) = message else { return Ok(()) };
                    self.send(message).await?;
                    continue;
                }
                read = timeout_at(deadline, self.packets.read()) => match read {
                    Ok(read) => read?,
                    Err(_) => return Ok(()),
                },
            };
            let Some(packet) = packet else { return Ok(()) };
            match packet {
                Packet::Publish(publish) if publish.qos != QoS::ExactlyOnce => {
                    if !Box::pin(self.publish(publish)).await? {
                        return Ok(());
                    }
                }
                Packet::Subscribe { packet_id, filters } => {
                    let granted = filters
                        .iter()
                        .map(|(filter, qos)| self.session.subscribe(filter, *qos))
                        .collect();
                    self.write(Packet::SubAck { packet_id, granted }).await?;
                }
                Packet::Unsubscribe { packet_id, filters } => {
                    for filter in &filters {
                        self.session.unsubscribe(filter);
                    }
                    self.write(Packet::UnsubAck { packet_id }).await?;
                }
                Packet::PingReq => self.write(Packet::PingResp).await?,
                Packet::PubAck { .. } => {}
                // DISCONNECT, or what a client must not send.
                _ => return Ok(()),
            }
            deadline = self.deadline();
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.session.patience()
    }

    /// Acknowledges, then answers: the C# SDK wants it in this order. False when the connection must end.
    async fn publish(&mut self, publish: Publish) -> Result<bool, Box<dyn Error + Send + Sync>> {
        if let Some(packet_id) = publish.packet_id {
            self.write(Packet::PubAck { packet_id }).await?;
        }
        match self.session.receive(&publish).await {
            Answer::Message(message) => self.send(message).await?,
            Answer::Nothing => {}
            Answer::End => return Ok(false),
        }
        Ok(true)
    }

    async fn send(&mut self, message: Message) -> Ended {
        let Message { topic, body, qos } = message;
        let packet_id = (qos == QoS::AtLeastOnce).then(|| self.next_id());
        let publish = Publish::new(topic, body, qos, packet_id);
        self.write(Packet::Publish(publish)).await
    }

    async fn write(&mut self, packet: Packet) -> Ended {
        write(self.packets, packet).await
    }

    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }
}
