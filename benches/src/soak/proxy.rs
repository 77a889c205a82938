//! A proxy that passes bytes on and cuts each connection after some of them.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The fewest bytes of a connection, in both directions together. A TLS handshake needs about 3 KiB.
const FEWEST: u64 = 2 * 1024;

/// A proxy in front of a port of this machine. Dropping it ends its connections.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    cuts: Arc<AtomicU64>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy whose connections have at most `most` bytes.
    pub(super) async fn start(target: u16, most: u64) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let cuts = Arc::new(AtomicU64::new(0));
        let mut accepting = JoinSet::new();
        let counter = Arc::clone(&cuts);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            let mut random = 0x9E37_79B9_7F4A_7C15_u64;
            while let Ok((stream, _)) = listener.accept().await {
                // A linear congruential generator: the same cuts in each run.
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let bytes = FEWEST + (random >> 33) % most.saturating_sub(FEWEST).max(1);
                let counter = Arc::clone(&counter);
                connections.spawn(async move {
                    if pass(stream, target, bytes).await {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            port,
            cuts,
            _accepting: accepting,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Passes this number of bytes on, then drops both connections. False if they ended before.
async fn pass(client: TcpStream, target: u16, bytes: u64) -> bool {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return false;
    };
    let left = AtomicU64::new(bytes);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        cut = copy(from_client, to_server, &left) => cut,
        cut = copy(from_server, to_client, &left) => cut,
    }
}

/// Returns true when no bytes are left, and false at the end of the connection.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    left: &AtomicU64,
) -> bool {
    let mut buffer = [0; 2048];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return false;
        };
        let allowed = left.load(Ordering::Relaxed);
        let passed = usize::try_from(allowed).unwrap_or(read).min(read);
        left.store(allowed - passed as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..passed]).await.is_err() {
            return false;
        }
        if passed < read {
            return true;
        }
    }
}
