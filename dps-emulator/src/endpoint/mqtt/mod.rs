//! MQTT 3.1.1: one connection, from CONNECT to its end. The username decides whether the client is at DPS or at a hub.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`, `iot/iot-mqtt-connect-to-iot-hub.md`.

mod connection;
mod dps;
mod hub;
mod hub_certificate;
mod hub_methods;
mod session;

use std::error::Error;
use std::io;
use std::time::Duration;

use dps_mqtt::{Connect, ConnectCode, ErrorKind, Packet, Packets};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Caller, Gateway};
use crate::attest::Presented;
use crate::fault::FaultOutcome;
use crate::instances::Instances;
use crate::service_error::ServiceError;
use connection::Connection;
pub(super) use hub::is_for as is_for_hub;
use session::Session;

/// The most bytes that MQTT adds to a message: its header and its topic.
const ENVELOPE: usize = 32 * 1024;
/// The longest `$rid`, in bytes. No limit is documented, and SDKs use at most 36 bytes. The topic of an answer contains it, and has to
/// fit into a packet.
const MAX_RID: usize = 1024;
/// The largest CONNECT, in bytes. Until then the client is not authenticated.
pub(super) const MAX_CONNECT: usize = 16 * 1024;
/// The time within which a client must send CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The time within which a client must read a packet.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that closing a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of a connection: an error if the connection itself failed.
pub(super) type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// Serves a connection until it ends or the emulator stops.
pub(super) async fn serve<S>(
    stream: S,
    instances: &Instances,
    caller: Caller<'_>,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut packets = Packets::new(stream, MAX_CONNECT);
    let ended = converse(&mut packets, instances, caller, stop).await;
    // TLS and WebSocket have closing messages of their own. Without them the end looks like a failure.
    let mut stream = packets.into_inner();
    let _ = timeout(CLOSE_TIMEOUT, stream.shutdown()).await;
    ended
}

async fn converse<S>(
    packets: &mut Packets<S>,
    instances: &Instances,
    caller: Caller<'_>,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let gateway = instances.first();
    let first = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        first = timeout(CONNECT_TIMEOUT, packets.read()) => first,
    };
    let closed = |reason: &str| {
        gateway.closed(caller, None, reason);
        Ok(())
    };
    let connect = match first {
        Ok(Ok(Some(Packet::Connect(connect)))) => connect,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) if error.kind() == ErrorKind::ProtocolVersion => {
            let reason = "the client does not use MQTT 3.1.1; MQTT 5 and 3.1 are not supported";
            gateway.closed(caller, None, reason);
            return write(
                packets,
                [conn_ack(ConnectCode::UnacceptableProtocolVersion)],
            )
            .await;
        }
        Ok(Err(error)) if error.kind() == ErrorKind::Io => return Err(error.into()),
        Ok(Err(error)) => return closed(&format!("the first packet is not valid: {error}")),
        // A server closes without an answer (MQTT-3.1.0-1).
        Ok(Ok(Some(_))) => return closed("the first packet is not CONNECT"),
        Err(_) => return closed("the client did not send CONNECT within 30 seconds"),
    };
    let gateway = match Box::pin(instances.for_mqtt(&connect)).await {
        Ok(gateway) => gateway,
        Err(error) => return refuse(packets, gateway, caller, &connect, &error).await,
    };
    let gateway = &*gateway;
    // Boxed, so that an idle connection is small.
    if hub::is_for(&connect) {
        match Box::pin(hub::Client::admit(gateway, caller, &connect)).await {
            Ok(FaultOutcome::Done(client)) => {
                Box::pin(accept(packets, gateway, caller, client, stop)).await
            }
            Ok(FaultOutcome::Silence) => {
                gateway.faults.stopped().await;
                Ok(())
            }
            Ok(FaultOutcome::Malformed | FaultOutcome::Cut) => Ok(()),
            Err(error) => refuse(packets, gateway, caller, &connect, &error).await,
        }
    } else {
        match Box::pin(dps::Client::admit(instances, gateway, caller, &connect)).await {
            Ok(client) => Box::pin(accept(packets, gateway, caller, client, stop)).await,
            Err(error) => refuse(packets, gateway, caller, &connect, &error).await,
        }
    }
}

async fn refuse<S>(
    packets: &mut Packets<S>,
    gateway: &Gateway,
    caller: Caller<'_>,
    connect: &Connect,
    error: &ServiceError,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    gateway.refused(caller, Some(&connect.client_id), error);
    let code = match error.is_transient() {
        true => ConnectCode::ServerUnavailable,
        false => ConnectCode::NotAuthorized,
    };
    write(packets, [conn_ack(code)]).await
}

async fn accept<S, C>(
    packets: &mut Packets<S>,
    gateway: &Gateway,
    caller: Caller<'_>,
    session: C,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Session,
{
    caller.peer.prove();
    packets.set_max_packet_bytes(session.max_packet_bytes());
    let accepted = Packet::ConnAck {
        session_present: session.is_resumed(),
        code: ConnectCode::Accepted,
    };
    write(packets, [accepted]).await?;
    Connection::new(packets, gateway, caller, session)
        .run(stop)
        .await
}

/// The token in the password, or the certificate of the TLS connection.
fn presented<'a>(connect: &Connect, caller: Caller<'a>) -> Result<Presented<'a>, ServiceError> {
    let password = connect.password.as_ref().map(|password| password.as_str());
    Presented::of(password, caller.peer.chain.as_ref())
}

/// One and a half times the keep-alive (MQTT-3.1.2-24). `None` without a keep-alive.
fn idle_timeout(keep_alive: u16) -> Option<Duration> {
    match keep_alive {
        0 => None,
        seconds => Some(Duration::from_millis(u64::from(seconds) * 1500)),
    }
}

/// Writes packets together. A client that does not read them in time loses its connection.
async fn write<S>(packets: &mut Packets<S>, unsent: impl IntoIterator<Item = Packet>) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(WRITE_TIMEOUT, packets.write_all(unsent)).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

fn conn_ack(code: ConnectCode) -> Packet {
    Packet::ConnAck {
        session_present: false,
        code,
    }
}
