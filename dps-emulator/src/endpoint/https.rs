//! HTTP/1.1 on a connection, and the switch from it to a WebSocket.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::absolute_target::replace_host;
use super::{Caller, Peer, Transport, amqp, mqtt, websocket};
use crate::instances::Instances;

/// The time within which the head of a request must arrive. An idle connection stays open as long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The time after which a connection ends if no request on it authenticated the client.
const UNPROVEN_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// A fault that was asked for. hyper closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("a fault closes the connection")]
struct Cut;

/// Serves requests until the connection ends, becomes a WebSocket and that ends, or the emulator stops.
pub(super) async fn serve<S>(
    stream: S,
    instances: Arc<Instances>,
    peer: Arc<Peer>,
    stop: &CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // A request for a WebSocket stores its connection here.
    let upgraded: Arc<Mutex<Option<(OnUpgrade, Transport)>>> = Arc::default();
    let answer = {
        let (instances, peer, upgraded) = (
            Arc::clone(&instances),
            Arc::clone(&peer),
            Arc::clone(&upgraded),
        );
        service_fn(move |mut request: Request<Incoming>| {
            replace_host(&mut request);
            let (instances, peer, upgraded) = (
                Arc::clone(&instances),
                Arc::clone(&peer),
                Arc::clone(&upgraded),
            );
            // Boxed, so that an idle connection is small.
            Box::pin(async move {
                if let Some(response) = websocket::accept(instances.first(), &peer, &request) {
                    if let Some(transport) = websocket::agreed(&response) {
                        let socket = (hyper::upgrade::on(request), transport);
                        *upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
                    }
                    return Ok(response);
                }
                instances.answer(request, &peer).await.ok_or(Cut)
            })
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = Box::pin(connection);
    tokio::select! {
        ended = connection.as_mut() => ended?,
        () = ended_unproven(&peer) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(HEAD_TIMEOUT, connection.as_mut()).await??;
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await?;
        }
    }
    drop(connection);
    let socket = upgraded
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some((socket, transport)) = socket {
        let caller = Caller {
            peer: &peer,
            transport,
        };
        let stream = websocket::stream(socket.await?, caller);
        match transport {
            Transport::AmqpWebSocket => amqp::serve(stream, &instances, caller, stop).await?,
            _ => mqtt::serve(stream, &instances, caller, stop).await?,
        }
    }
    Ok(())
}

/// Ends when the time limit of a client that is not authenticated has passed.
async fn ended_unproven(peer: &Peer) {
    tokio::time::sleep(UNPROVEN_TIMEOUT).await;
    if peer.is_proven() {
        std::future::pending::<()>().await;
    }
}
