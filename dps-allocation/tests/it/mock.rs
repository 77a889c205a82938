//! A webhook whose behaviour a test chooses, and that counts its calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The function key in the URL.
pub(crate) const SECRET: &str = "s3cret";

/// The action of a mock after it has read the request.
#[derive(Clone)]
pub(crate) enum Then {
    /// Sends this and closes.
    Send(String),
    /// Sends this and waits.
    Wait(String),
    /// Sends this and resets the connection.
    Reset(String),
}

/// A webhook that always behaves in the same way, and counts its calls.
pub(crate) struct Mock {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Mock {
    pub(crate) async fn answering(status: &str, body: &str) -> Self {
        Self::start(Then::Send(response(status, "", body))).await
    }

    pub(crate) async fn start(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let task = tokio::spawn(async move {
            let mut waiting = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                read_request(&mut stream).await;
                match &then {
                    Then::Send(text) => send(&mut stream, text).await,
                    Then::Wait(text) => {
                        send(&mut stream, text).await;
                        waiting.push(stream);
                    }
                    Then::Reset(text) => {
                        send(&mut stream, text).await;
                        stream.set_zero_linger().unwrap();
                    }
                }
            }
        });
        Self {
            address,
            calls,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/f?code={SECRET}", self.address)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn response(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// Reads the head and the body of a request.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    loop {
        let read = stream.read_buf(&mut text).await.unwrap();
        let so_far = String::from_utf8_lossy(&text);
        if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return so_far.into_owned();
            }
        }
        assert_ne!(read, 0, "the request is incomplete: {so_far}");
    }
}

/// Sends the text. The client may already have closed the connection.
pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap_or_default();
    stream.flush().await.unwrap_or_default();
}
