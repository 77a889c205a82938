//! Minimal HTTP clients with keep-alive, so that mostly the servers are measured.

use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const CONNECTIONS: usize = 8;
pub(crate) const REQUESTS: usize = 64;

/// Connections, each with the request that it sends.
pub(crate) struct Clients(Vec<(TcpStream, String)>);

impl Clients {
    /// Connects to a listener, which may not be served yet. `request` is the request of the connection with this number.
    pub(crate) async fn connect(address: SocketAddr, request: impl Fn(usize) -> String) -> Self {
        let streams = (0..CONNECTIONS).map(async |number| {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            (stream, request(number))
        });
        Self(join_all(streams).await)
    }

    /// Uses all connections concurrently, with one request at a time on each.
    pub(crate) async fn ask(&mut self) {
        let asking = self.0.drain(..).map(|(mut stream, request)| {
            tokio::spawn(async move {
                for _ in 0..REQUESTS {
                    stream.write_all(request.as_bytes()).await.unwrap();
                    answer(&mut stream).await;
                }
                (stream, request)
            })
        });
        let streams = join_all(asking).await;
        self.0 = streams.into_iter().map(Result::unwrap).collect();
    }
}

/// A request with a JSON body. Each of the other headers ends with a line break.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Reads one answer, whose status must be a success.
async fn answer(stream: &mut TcpStream) {
    let (mut buffer, mut filled) = ([0; 8192], 0);
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert_ne!(read, 0, "closed");
        filled += read;
        let text = str::from_utf8(&buffer[..filled]).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            assert!(head.starts_with("HTTP/1.1 2"), "{text}");
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            if body.len() == length.unwrap().1.parse::<usize>().unwrap() {
                return;
            }
        }
    }
}
