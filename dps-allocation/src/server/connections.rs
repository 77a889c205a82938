//! The connections of a server: each in a task that is owned, limited in time, and told when to stop.

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

use super::router;
use crate::Webhook;

#[derive(Clone)]
pub(super) struct Server {
    router: Router,
    /// How long the head of a request may take, from the first byte of the connection or the end of the one before.
    head: Duration,
    /// How long a connection is kept, so that a client that never reads its answers goes at last.
    lifetime: Duration,
    /// How long a request in flight may take to finish.
    grace: Duration,
}

impl Server {
    pub(super) fn new(webhook: Webhook) -> Self {
        let head = webhook.client_timeout().min(LONGEST);
        Self {
            head,
            lifetime: LIFETIME,
            // The body arrives, the policy decides, the answer leaves.
            grace: 2 * head + webhook.timeout().min(LONGEST),
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
            tracing::warn!("cut off connections that did not finish in time");
        }
        connections.shutdown().await;
        Ok(())
    }

    async fn connection(self, stream: TcpStream, mut stopped: watch::Receiver<()>) {
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.head)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router))
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            // The sender is never used: it is dropped when the server stops.
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
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// The next connection. An error may be of that connection alone, or there may be no file descriptor left: wait it out.
async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let mut attempt = 0;
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => return Ok(stream),
            Err(error) if attempt == ACCEPT_ATTEMPTS => return Err(error),
            Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
        }
        attempt += 1;
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Stands for "no limit"; more could overflow the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const MAX_CONNECTIONS: usize = 1024;
const LIFETIME: Duration = Duration::from_secs(5 * 60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const ACCEPT_ATTEMPTS: u32 = 600;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::{Allocation, from_fn};

    #[tokio::test]
    async fn a_client_that_never_reads_is_cut_off_when_its_time_is_up() {
        let webhook = Webhook::new(from_fn(|request| {
            Ok(Allocation::to(&request.linked_hubs[0]).payload("x".repeat(60_000)))
        }));
        let server = Server {
            lifetime: Duration::from_millis(200),
            grace: Duration::from_millis(200),
            ..Server::new(webhook)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = server.run(listener, std::future::pending());

        let body = r#"{"enrollmentGroup":{"enrollmentGroupId":"g","attestation":{"type":"symmetricKey"}},
            "deviceRuntimeContext":{"registrationId":"dev-1"},"linkedHubs":["hub-a"]}"#;
        let request = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Pipelined until the server, which cannot get rid of its answers, closes.
            while stream.write_all(request.as_bytes()).await.is_ok() {}
        };
        tokio::select! {
            ended = running => panic!("the server ended: {ended:?}"),
            ended = timeout(Duration::from_secs(30), client) => ended.expect("cut off in time"),
        }
    }
}
