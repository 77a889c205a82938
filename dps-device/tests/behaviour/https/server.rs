//! An HTTPS server without an HTTP library: it records the requests and sends scripted bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// The answer to a request.
#[derive(Clone)]
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    /// No answer.
    Silence,
    /// These bytes, then the end of the connection.
    Cut(Vec<u8>),
}

/// An answer with a JSON body.
pub(crate) fn json(status: u16, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Reason\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    Answer::Bytes([head.as_bytes(), body.as_bytes()].concat())
}

/// An event of the server.
#[derive(Debug)]
pub(crate) enum Seen {
    Request(Request),
    /// The client closed this connection.
    Closed(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) connection: usize,
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The number of certificates that the client presented.
    pub(crate) certificates: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(header, _)| header == name);
        let value = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} appears twice");
        value
    }
}

pub(crate) struct Server {
    port: u16,
    seen: UnboundedReceiver<Seen>,
    task: AbortHandle,
}

impl Server {
    pub(crate) async fn start(
        config: Arc<ServerConfig>,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, seen) = unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let acceptor = TlsAcceptor::from(config);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = Connection {
                    number,
                    answers: answers.clone(),
                    seen: sender.clone(),
                };
                connections.spawn(connection.serve(stream, acceptor.clone()));
            }
        });
        Self {
            port,
            seen,
            task: task.abort_handle(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next event of the server.
    pub(crate) async fn next(&mut self) -> Seen {
        timeout(Duration::from_secs(20), self.seen.recv())
            .await
            .expect("the server sees something in time")
            .unwrap()
    }

    pub(crate) async fn request(&mut self) -> Request {
        match self.next().await {
            Seen::Request(request) => request,
            Seen::Closed(number) => panic!("connection {number} was closed"),
        }
    }

    /// Waits until the client has closed the connection.
    pub(crate) async fn closed(&mut self) -> usize {
        match self.next().await {
            Seen::Closed(number) => number,
            Seen::Request(request) => panic!("{request:?}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection {
    number: usize,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: UnboundedSender<Seen>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, acceptor: TlsAcceptor) {
        let Ok(mut stream) = acceptor.accept(stream).await else {
            return;
        };
        let shown = stream.get_ref().1.peer_certificates();
        let certificates = shown.map_or(0, <[_]>::len);
        while let Some(mut request) = read_request(&mut stream).await {
            request.connection = self.number;
            request.certificates = certificates;
            // The test may have ended.
            let _ = self.seen.send(Seen::Request(request));
            let answer = self.answers.lock().unwrap().pop_front();
            match answer.expect("there is an answer to this request") {
                Answer::Bytes(bytes) => stream.write_all(&bytes).await.unwrap(),
                Answer::Silence => {}
                Answer::Cut(bytes) => {
                    stream.write_all(&bytes).await.unwrap();
                    stream.shutdown().await.unwrap();
                    return;
                }
            }
        }
        let _ = self.seen.send(Seen::Closed(self.number));
    }
}

/// One request, `None` after the client has disconnected.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        connection: 0,
        line,
        headers,
        body: String::from_utf8(body).unwrap(),
        certificates: 0,
    })
}
