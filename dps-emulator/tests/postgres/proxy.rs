//! A TCP proxy in front of the server that cuts connections.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// When connections are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Never,
    /// Never, but the command LISTEN is spoiled on its way to the server.
    NoListen,
    /// Each connection after this number of bytes at most, in each direction.
    Within(u64),
    /// When the client commits: the command does not arrive at the server.
    BeforeCommit,
    /// When the server answers to a commit: the answer does not arrive at the client.
    AfterCommit,
}

/// It ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    cut: Arc<Mutex<Cut>>,
    pub(crate) cuts: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let cut = Arc::new(Mutex::new(Cut::Never));
        let cuts = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let (chosen, counter) = (Arc::clone(&cut), Arc::clone(&cuts));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let mut random = 7_u64;
            loop {
                let (client, _) = listener.accept().await.expect("a client");
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let connection = Connection {
                    cut: Arc::clone(&chosen),
                    random: random >> 33,
                    has_committed: AtomicBool::new(false),
                };
                let counter = Arc::clone(&counter);
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await
                        && connection.forward(client, server).await
                    {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self {
            port,
            cut,
            cuts,
            _tasks: tasks,
        }
    }

    pub(crate) fn set(&self, cut: Cut) {
        *self.cut.lock().expect("no panic") = cut;
    }
}

struct Connection {
    cut: Arc<Mutex<Cut>>,
    random: u64,
    /// Whether a commit was forwarded whose answer must not be.
    has_committed: AtomicBool,
}

impl Connection {
    /// Forwards until one side closes the connection, or until it is cut: the result is then true.
    async fn forward(&self, client: TcpStream, server: TcpStream) -> bool {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            cut = self.copy(from_client, to_server, true) => cut,
            cut = self.copy(from_server, to_client, false) => cut,
        }
    }

    async fn copy(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_client: bool) -> bool {
        let mut buffer = [0; 4096];
        let mut total = 0;
        loop {
            let Ok(length @ 1..) = from.read(&mut buffer).await else {
                return false;
            };
            let bytes = &mut buffer[..length];
            let commits = is_client && bytes.windows(7).any(|it| it == b"COMMIT\0");
            let cut = *self.cut.lock().expect("no panic");
            if cut == Cut::NoListen
                && is_client
                && let Some(at) = bytes.windows(7).position(|it| it == b"LISTEN ")
            {
                bytes[at] = b'X';
            }
            total += length as u64;
            let is_cut = match cut {
                Cut::Never | Cut::NoListen => false,
                Cut::Within(limit) => total > self.random % limit,
                Cut::BeforeCommit => commits,
                Cut::AfterCommit => {
                    // The server has sent the answer, so it has committed.
                    let answers = !is_client && self.has_committed.load(Ordering::SeqCst);
                    self.has_committed.fetch_or(commits, Ordering::SeqCst);
                    answers
                }
            };
            if is_cut {
                return true;
            }
            if to.write_all(bytes).await.is_err() {
                return false;
            }
        }
    }
}
