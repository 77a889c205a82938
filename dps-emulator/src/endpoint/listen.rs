//! Accepts connections: TLS, time limits, and the orderly end when the emulator stops.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connection_counts::OpenConnection;
use super::protocol::Protocol;
use super::write_timeout::WriteTimeout;
use super::{Caller, Gateway, Peer, Transport, amqp, https, mqtt};
use crate::attest::PresentedChain;
use crate::fault::{FaultOutcome, Step};
use crate::instances::Instances;
use crate::tls::{self, TlsAcceptor};

/// The time within which a TLS handshake must be complete.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time within which a client must read some of what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that requests in progress have to finish when the emulator stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// The pause after an accept that failed, usually because the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the emulator stops, then waits for the requests in progress.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<TlsAcceptor>,
    protocol: Protocol,
    instances: Arc<Instances>,
    stop: CancellationToken,
) {
    // Further connections wait in the system's queue.
    let limit = instances
        .first()
        .instance
        .state
        .limits()
        .unproven_connections;
    let unproven = Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &unproven) => match accepted {
                Ok((stream, address, place)) => {
                    let connection = Connection {
                        _open: instances.first().shared.connections.open(protocol),
                        stream,
                        address,
                        place,
                        protocol,
                        instances: Arc::clone(&instances),
                    };
                    // Boxed, because tokio moves a task several times before its first poll.
                    connections.spawn(Box::pin(connection.serve(Arc::clone(&tls), stop.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, all).await.is_err() {
        tracing::warn!("closed connections whose requests did not finish in time");
        // Until their tasks have ended, they keep the store open.
        connections.shutdown().await;
    }
}

type Accepted = (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>);

async fn accept(listener: &TcpListener, unproven: &Arc<Semaphore>) -> io::Result<Accepted> {
    // The semaphore is never closed, so there always is a place.
    let place = Arc::clone(unproven).acquire_owned().await.ok();
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, place))
}

/// A connection that was accepted.
struct Connection {
    _open: OpenConnection,
    stream: TcpStream,
    address: SocketAddr,
    place: Option<OwnedSemaphorePermit>,
    protocol: Protocol,
    instances: Arc<Instances>,
}

impl Connection {
    async fn serve(self, tls: Arc<TlsAcceptor>, stop: CancellationToken) {
        let Self {
            _open,
            stream,
            address,
            place,
            protocol,
            instances,
        } = self;
        let gateway = Arc::clone(instances.first());
        if protocol == Protocol::InsecureHttp {
            let stream = WriteTimeout::new(stream, WRITE_TIMEOUT);
            let peer = Peer::without_tls(address, place);
            return converse(stream, protocol, instances, peer, stop).await;
        }
        if let Some(alert) = gateway.faults.take_tls_alert().await {
            return send_alert(stream, alert).await;
        }
        let handshake = timeout(HANDSHAKE_TIMEOUT, handshake(stream, &tls));
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            handshake = handshake => match handshake {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return handshake_failed(&gateway, address, &error),
                Err(_) => {
                    let error = io::Error::other("it was not complete after 10 seconds");
                    return handshake_failed(&gateway, address, &error);
                }
            },
        };
        let peer = peer(&gateway, &stream, address, place);
        converse(stream, protocol, instances, peer, stop).await;
    }
}

/// Serves a connection in its protocol until it ends or the emulator stops.
async fn converse<S>(
    mut stream: S,
    protocol: Protocol,
    instances: Arc<Instances>,
    peer: Peer,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match instances
        .first()
        .faults
        .apply(Step::Connect, None, async { Ok(()) })
        .await
    {
        Ok(FaultOutcome::Done(())) => {}
        Ok(FaultOutcome::Silence) => {
            // Until the client closes the connection or the emulator stops.
            let mut nowhere = tokio::io::sink();
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::io::copy(&mut stream, &mut nowhere) => {}
            }
            return;
        }
        _ => return,
    }
    let address = peer.address;
    let peer = Arc::new(peer);
    let ended: Result<(), Box<dyn Error + Send + Sync>> = match protocol {
        Protocol::Https | Protocol::InsecureHttp => {
            https::serve(stream, instances, peer, &stop).await
        }
        Protocol::Mqtt => {
            let caller = Caller {
                peer: &peer,
                transport: Transport::Mqtt,
            };
            mqtt::serve(stream, &instances, caller, &stop).await
        }
        Protocol::Amqp => {
            let caller = Caller {
                peer: &peer,
                transport: Transport::Amqp,
            };
            amqp::serve(stream, &instances, caller, &stop).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, peer = %address, "a connection failed");
    }
}

type Stream = TlsStream<WriteTimeout<TcpStream>>;

async fn handshake(stream: TcpStream, tls: &TlsAcceptor) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    tls.accept(WriteTimeout::new(stream, WRITE_TIMEOUT)).await
}

/// Answers a ClientHello with a fatal alert: a fault that was asked for.
async fn send_alert(mut stream: TcpStream, alert: u8) {
    // Content type alert, version TLS 1.2, length 2, level fatal.
    let record = [21, 3, 3, 0, 2, 2, alert];
    let mut hello = [0; 4096];
    let exchange = async {
        // A connection that is closed with unread data is reset, and the client may lose the alert.
        let _some = stream.read(&mut hello).await?;
        stream.write_all(&record).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(HANDSHAKE_TIMEOUT, exchange).await, Ok(Ok(()))) {
        tracing::debug!("a TLS alert that a fault asked for was not delivered");
    }
}

fn handshake_failed(gateway: &Gateway, address: SocketAddr, error: &io::Error) {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        // A client that connects and leaves, as a health check does.
        return tracing::debug!(peer = %address, "a connection ended before its TLS handshake");
    }
    let peer = Peer::new(address, None, None);
    let caller = Caller {
        peer: &peer,
        transport: Transport::Tls,
    };
    let reason = format!("the TLS handshake failed: {}", tls::explain(error));
    gateway.closed(caller, None, &reason);
}

/// The chain that the client presented in the handshake. Certificates that cannot be read count as none: the device is then refused
/// in the service's words, or has a valid token.
fn peer(
    gateway: &Gateway,
    stream: &Stream,
    address: SocketAddr,
    place: Option<OwnedSemaphorePermit>,
) -> Peer {
    let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
    if presented.is_empty() {
        return Peer::new(address, None, place);
    }
    match PresentedChain::new(presented) {
        Ok(chain) => Peer::new(address, Some(chain), place),
        Err(error) => {
            let peer = Peer::new(address, None, place);
            let caller = Caller {
                peer: &peer,
                transport: Transport::Tls,
            };
            let reason = format!("the client's certificates cannot be read: {error}");
            gateway.ignored(caller, None, &reason);
            peer
        }
    }
}
