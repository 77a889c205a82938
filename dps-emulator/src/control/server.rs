//! Accepts connections to the control endpoint.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Control, route};
use crate::endpoint::replace_host;

/// The time within which the head of a request must arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The most connections. Further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The time that requests in progress have to finish when the emulator stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Serves until the emulator stops.
pub(crate) async fn serve(listener: TcpListener, control: Arc<Control>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let stop = control.stop.clone();
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = accept => match accepted {
                Ok((stream, address)) => {
                    let control = Arc::clone(&control);
                    connections.spawn(async move {
                        let _place = place;
                        converse(stream, address, control).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the control endpoint");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
}

async fn converse(stream: TcpStream, address: SocketAddr, control: Arc<Control>) {
    let stop = control.stop.clone();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        replace_host(&mut request);
        let control = Arc::clone(&control);
        Box::pin(
            async move { Ok::<_, Infallible>(route::answer(&control, request, address).await) },
        )
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = Box::pin(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %address, "a connection to the control endpoint failed");
    }
}
