//! MQTT 3.1.1: one connection, from CONNECT to its end.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`.

mod connect;
mod request;

use std::error::Error;
use std::io;
use std::time::Duration;

use dps_mqtt::{ConnectCode, ErrorKind, Packet, Packets, Publish, QoS};
use dps_types::protocol::mqtt::RESPONSE_FILTER;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Gateway, Peer};
use connect::Client;
use request::Answer;

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
    let client = match Client::admit(gateway, peer, &connect).await {
        Ok(client) => client,
        Err(refusal) => {
            tracing::debug!(
                client_id = connect.client_id,
                reason = refusal.message,
                "connection refused"
            );
            return write(packets, refused(ConnectCode::NotAuthorized)).await;
        }
    };
    // DPS keeps no sessions, whatever the client asks for.
    let accepted = Packet::ConnAck {
        session_present: false,
        code: ConnectCode::Accepted,
    };
    write(packets, accepted).await?;
    Connection {
        packets,
        gateway,
        client,
        granted: None,
        last_id: 0,
    }
    .run(stop)
    .await
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
struct Connection<'a, S> {
    packets: &'a mut Packets<S>,
    gateway: &'a Gateway,
    client: Client<'a>,
    /// How responses are to be delivered, once it has subscribed to them.
    granted: Option<QoS>,
    last_id: u16,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    async fn run(mut self, stop: &CancellationToken) -> Ended {
        loop {
            let packet = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                read = timeout(self.client.patience, self.packets.read()) => match read {
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
                        .map(|(filter, qos)| self.grant(filter, *qos))
                        .collect();
                    self.write(Packet::SubAck { packet_id, granted }).await?;
                }
                Packet::Unsubscribe { packet_id, filters } => {
                    if filters.iter().any(|filter| filter == RESPONSE_FILTER) {
                        self.granted = None;
                    }
                    self.write(Packet::UnsubAck { packet_id }).await?;
                }
                Packet::PingReq => self.write(Packet::PingResp).await?,
                Packet::PubAck { .. } => {}
                // DISCONNECT, or what a client must not send.
                _ => return Ok(()),
            }
        }
    }

    /// There is one thing to subscribe to, and its QoS is 1 at most.
    fn grant(&mut self, filter: &str, asked: QoS) -> Option<QoS> {
        if filter != RESPONSE_FILTER {
            return None;
        }
        let granted = match asked {
            QoS::AtMostOnce => QoS::AtMostOnce,
            _ => QoS::AtLeastOnce,
        };
        self.granted = Some(granted);
        Some(granted)
    }

    /// Acknowledges, then answers: the C# SDK wants it in this order. False when the connection must end.
    async fn publish(&mut self, publish: Publish) -> Result<bool, Box<dyn Error + Send + Sync>> {
        if let Some(packet_id) = publish.packet_id {
            self.write(Packet::PubAck { packet_id }).await?;
        }
        let response = match request::answer(self.gateway, &self.client, &publish).await {
            Answer::Response(response) => response,
            Answer::Nothing => return Ok(true),
            Answer::End => return Ok(false),
        };
        if let Some(qos) = self.granted {
            let packet_id = (qos == QoS::AtLeastOnce).then(|| self.next_id());
            let response = Publish::new(response.topic, response.body, qos, packet_id);
            self.write(Packet::Publish(response)).await?;
        }
        Ok(true)
    }

    async fn write(&mut self, packet: Packet) -> Ended {
        write(self.packets, packet).await
    }

    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }
}
