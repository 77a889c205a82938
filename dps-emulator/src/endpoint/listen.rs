//! Accepting connections: TLS, limits for slow clients, an orderly end.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{Gateway, Peer, http, mqtt};
use crate::attest::PresentedChain;
use crate::fault::{Met, Step};
use crate::tls::{self, TlsAcceptor};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long requests under way may take to finish when the emulator stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long to wait when the machine has no more sockets to give.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// What is spoken behind a port, inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, and MQTT over WebSocket.
    Http,
    Mqtt,
}

/// Serves until told to stop; then finishes what is under way.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<TlsAcceptor>,
    protocol: Protocol,
    gateway: Arc<Gateway>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&tls), protocol, Arc::clone(&gateway), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection accepted");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(FAREWELL, all).await.is_err() {
        tracing::warn!("some connections had to be cut");
        // Until they are gone, they hold on to the store.
        connections.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: Arc<TlsAcceptor>,
    protocol: Protocol,
    gateway: Arc<Gateway>,
    stop: CancellationToken,
) {
    let handshake = timeout(HANDSHAKE, accept(stream, &acceptor));
    let mut stream = tokio::select! {
        () = stop.cancelled() => return,
        handshake = handshake => match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::info!(reason = tls::explain(&error), "TLS handshake failed"),
            Err(_) => return tracing::info!(seconds = HANDSHAKE.as_secs(), "TLS handshake timed out"),
        },
    };
    match gateway.faults.meet(Step::Connect, async { Ok(()) }).await {
        Ok(Met::Done(())) => {}
        Ok(Met::Silence) => {
            // Until one of the two has enough.
            let mut nowhere = tokio::io::sink();
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::io::copy(&mut stream, &mut nowhere) => {}
            }
            return;
        }
        _ => return,
    }
    let peer = Arc::new(peer(&stream));
    let ended: Result<(), Box<dyn Error + Send + Sync>> = match protocol {
        Protocol::Http => http::serve(stream, gateway, peer, &stop).await,
        Protocol::Mqtt => mqtt::serve(stream, &gateway, &peer, &stop).await,
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}

async fn accept(stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

/// What the client showed in the handshake. Certificates that cannot be read count as none: they may still be refused in
/// the service's words, and a token may still be good.
fn peer(stream: &TlsStream<TcpStream>) -> Peer {
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    if shown.is_empty() {
        return Peer::default();
    }
    let chain = PresentedChain::new(shown)
        .inspect_err(|error| tracing::info!(%error, "the client certificate is ignored"))
        .ok();
    Peer { chain }
}
