//! Accepting connections: TLS, HTTP/1.1, limits for slow clients, an orderly end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{Gateway, Peer};
use crate::attest::PresentedChain;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and an idle connection may stay.
const HEAD: Duration = Duration::from_secs(60);
/// How long requests under way may take to finish when the emulator stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long to wait when the machine has no more sockets to give.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Serves until told to stop; then finishes what is under way.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
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
                    connections.spawn(connection(stream, tls.clone(), Arc::clone(&gateway), stop.clone()));
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
    }
}

async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    gateway: Arc<Gateway>,
    stop: CancellationToken,
) {
    let handshake = timeout(HANDSHAKE, accept(stream, &tls));
    let stream = tokio::select! {
        () = stop.cancelled() => return,
        handshake = handshake => match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        },
    };
    let peer = match peer(&stream) {
        Ok(peer) => Arc::new(peer),
        Err(reason) => return tracing::debug!(reason, "client certificate cannot be read"),
    };
    if let Err(error) = http(stream, gateway, peer, &stop).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn accept(stream: TcpStream, tls: &TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    tls.accept(stream).await
}

fn peer(stream: &TlsStream<TcpStream>) -> Result<Peer, String> {
    let chain = match stream.get_ref().1.peer_certificates() {
        Some(certificates) if !certificates.is_empty() => {
            Some(PresentedChain::new(certificates).map_err(|error| error.to_string())?)
        }
        _ => None,
    };
    Ok(Peer { chain })
}

fn http(
    stream: TlsStream<TcpStream>,
    gateway: Arc<Gateway>,
    peer: Arc<Peer>,
    stop: &CancellationToken,
) -> impl Future<Output = Result<(), hyper::Error>> {
    let answer = service_fn(move |request| {
        let (gateway, peer) = (Arc::clone(&gateway), Arc::clone(&peer));
        // Boxed, so that a connection at rest is small.
        Box::pin(
            async move { Ok::<_, std::convert::Infallible>(gateway.answer(request, &peer).await) },
        )
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), answer);
    async move {
        tokio::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }
}
