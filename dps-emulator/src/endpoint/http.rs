//! HTTP/1.1 on a connection, and the way from it to a WebSocket.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{Gateway, Peer, mqtt, websocket};

/// How long the head of a request may take, and an idle connection may stay.
const HEAD: Duration = Duration::from_secs(60);
/// How much of a head is read at most.
const BUFFER: usize = 64 * 1024;

/// A fault that was asked for. hyper closes the connection.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut, as was asked for")
    }
}

impl Error for Cut {}

/// Serves requests until the connection ends, becomes a WebSocket and that ends, or the emulator stops.
pub(super) async fn serve<S>(
    stream: S,
    gateway: Arc<Gateway>,
    peer: Arc<Peer>,
    stop: &CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Where a request leaves the WebSocket that it asked for.
    let upgraded: Arc<Mutex<Option<OnUpgrade>>> = Arc::default();
    let answer = {
        let (gateway, peer, upgraded) = (
            Arc::clone(&gateway),
            Arc::clone(&peer),
            Arc::clone(&upgraded),
        );
        service_fn(move |request| {
            let (gateway, peer, upgraded) = (
                Arc::clone(&gateway),
                Arc::clone(&peer),
                Arc::clone(&upgraded),
            );
            // Boxed, so that a connection at rest is small.
            Box::pin(async move {
                if let Some(response) = websocket::accept(&request) {
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        let socket = hyper::upgrade::on(request);
                        *upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
                    }
                    return Ok(response);
                }
                gateway.answer(request, &peer).await.ok_or(Cut)
            })
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = Box::pin(connection);
    tokio::select! {
        ended = connection.as_mut() => ended?,
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
    if let Some(socket) = socket {
        let stream = websocket::stream(socket.await?).await;
        mqtt::serve(stream, &gateway, &peer, stop).await?;
    }
    Ok(())
}
