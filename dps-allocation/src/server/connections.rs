//! The connections of a server: each in a task that the server owns, with limits, and with a graceful stop.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::router;
use crate::Webhook;

#[derive(Clone)]
pub(super) struct Server {
    router: Router,
    /// The timeout of each step of a client: sending the head of a request, reading a part of the answer.
    client_timeout: Duration,
    /// The maximum lifetime of a connection, so that a client that reads one byte now and then is also disconnected.
    lifetime: Duration,
    /// The timeout of the request in flight when the connection has to end.
    grace: Duration,
}

impl Server {
    pub(super) fn new(webhook: Webhook) -> Self {
        let client_timeout = webhook.client_timeout().min(MAX_DURATION);
        Self {
            client_timeout,
            lifetime: LIFETIME,
            // The body arrives, the policy decides, the answer is sent.
            grace: 2 * client_timeout + webhook.timeout().min(MAX_DURATION),
            router: router::router(Arc::new(webhook)),
        }
    }

    pub(super) async fn run(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let (stop, stopped) = watch::channel(());
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_ended) = connections.join_next() => {}
                stream = accept(&listener), if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(self.clone().connection(stream?, stopped.clone()));
                }
            }
        }
        drop(listener);
        drop(stop);
        let rest = async { while connections.join_next().await.is_some() {} };
        if timeout(self.grace, rest).await.is_err() {
            tracing::warn!("closed connections that did not finish in time");
        }
        connections.shutdown().await;
        Ok(())
    }

    // hyper_util's GracefulShutdown could replace `stopped`, but not the end of a connection's lifetime, which needs the
    // same graceful shutdown of one connection alone.
    async fn connection(self, stream: TcpStream, mut stopped: watch::Receiver<()>) {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.client_timeout));
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.client_timeout)
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HEAD)
                .serve_connection(
                    TokioIo::new(Box::pin(stream)),
                    TowerToHyperService::new(self.router)
                )
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            // Nothing is ever sent: the sender is dropped when the server stops.
            _ = stopped.changed() => None,
            () = sleep(self.lifetime) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                timeout(self.grace, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection failed");
        }
    }
}

/// Accepts the next connection. An error may concern only that connection, or the process has no file descriptor left:
/// the server retries after a pause.
async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let mut attempt = 0;
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => return Ok(stream),
            Err(error) if attempt == ACCEPT_ATTEMPTS => return Err(error),
            Err(error) => tracing::warn!(%error, "cannot accept a connection"),
        }
        attempt += 1;
        sleep(ACCEPT_PAUSE).await;
    }
}

/// The duration that means "no limit": a longer one could overflow the clock.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const MAX_CONNECTIONS: usize = 1024;
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 64 * 1024;
const LIFETIME: Duration = Duration::from_secs(5 * 60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const ACCEPT_ATTEMPTS: u32 = 600;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{Allocation, from_fn};

    fn webhook() -> Webhook {
        Webhook::new(from_fn(|request| {
            let payload = "x".repeat(60_000);
            Ok(Allocation::to(request.linked_hubs[0].clone()).payload(payload))
        }))
    }

    fn request() -> String {
        let body = r#"{"enrollmentGroup":{"enrollmentGroupId":"g","attestation":{"type":"symmetricKey"}},
            "deviceRuntimeContext":{"registrationId":"dev-1"},"linkedHubs":["hub-a"]}"#;
        format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Serves until the client has ended, which must be soon.
    async fn serve<F: Future<Output = ()>>(server: Server, client: impl FnOnce(TcpStream) -> F) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = server.run(listener, std::future::pending());
        let client = async { client(TcpStream::connect(address).await.unwrap()).await };
        tokio::select! {
            ended = running => panic!("the server ended: {ended:?}"),
            ended = timeout(Duration::from_secs(60), client) => ended.expect("disconnected"),
        }
    }

    #[tokio::test]
    async fn a_client_that_never_reads_is_disconnected() {
        let server = Server {
            client_timeout: Duration::from_millis(200),
            ..Server::new(webhook())
        };
        serve(server, async |mut stream| {
            // Requests are sent until the server, which cannot send its answers, closes the connection.
            while stream.write_all(request().as_bytes()).await.is_ok() {}
        })
        .await;
    }

    #[tokio::test]
    async fn a_client_that_reads_very_slowly_is_disconnected_at_the_end_of_its_lifetime() {
        let server = Server {
            lifetime: Duration::from_millis(200),
            grace: Duration::from_millis(200),
            ..Server::new(webhook())
        };
        serve(server, async |mut stream| {
            let (mut reader, mut writer) = stream.split();
            let send = async { while writer.write_all(request().as_bytes()).await.is_ok() {} };
            let read = async {
                while reader.read_u8().await.is_ok() {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                () = send => {}
                () = read => {}
            }
        })
        .await;
    }
}
