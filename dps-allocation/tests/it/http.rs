//! A minimal HTTP client and a served webhook, over real sockets.

use std::net::SocketAddr;

use dps_allocation::Webhook;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A webhook that is served.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Served {
    pub(crate) async fn start(webhook: Webhook) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { stopped.await.unwrap_or_default() };
        Self {
            address,
            task: tokio::spawn(webhook.serve_until(listener, shutdown)),
            stop,
        }
    }

    /// Stops the server, and returns its task.
    pub(crate) fn stop(self) -> JoinHandle<std::io::Result<()>> {
        self.stop.send(()).expect("it is being served");
        self.task
    }
}

/// A `POST` of the body, after which the server closes the connection.
pub(crate) fn post(target: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: webhook\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status");
        Self {
            status: status.parse().expect("a number"),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// Sends the bytes, and reads until the server closes the connection.
pub(crate) async fn exchange(address: SocketAddr, bytes: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(bytes.as_bytes()).await.expect("sends");
    Reply::parse(&read_to_end(&mut stream).await)
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("reads");
    text
}
