//! A TCP proxy that cuts, resets or stalls connections at a byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Result;

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Both sides are closed in order.
    Close,
    /// Both sides receive a reset.
    Reset,
    /// No more bytes pass in this direction, and both connections stay open.
    Stall,
}

/// A fault of a connection, after this number of bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) direction: Direction,
    pub(crate) after: u64,
    pub(crate) action: Action,
}

/// The connections that have the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Never,
    First(Cut),
    Every(Cut),
}

/// A proxy in front of a port of this machine. Dropping it ends its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    counts: Arc<Counts>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counts {
    to_server: AtomicU64,
    to_client: AtomicU64,
    faults: AtomicU64,
}

impl Proxy {
    pub(crate) async fn start(target: u16, plan: Plan) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let counts = Arc::<Counts>::default();
        let mut accepting = JoinSet::new();
        let shared = Arc::clone(&counts);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0_u64;
            while let Ok((stream, _)) = listener.accept().await {
                let cut = match plan {
                    Plan::First(cut) if number == 0 => Some(cut),
                    Plan::Every(cut) => Some(cut),
                    _ => None,
                };
                number += 1;
                let counts = Arc::clone(&shared);
                connections.spawn(async move { pass(stream, target, cut, &counts).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            port,
            counts,
            _accepting: accepting,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The number of faults that were made.
    pub(crate) fn faults(&self) -> u64 {
        self.counts.faults.load(Ordering::Relaxed)
    }

    /// The bytes that were passed to the server and to the client.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.counts.to_server), count(&self.counts.to_client))
    }
}

/// One direction of a connection.
struct Way<'a> {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    /// The bytes that are passed before the fault.
    limit: Option<u64>,
    passed: &'a AtomicU64,
}

/// The reason for the end of a direction.
#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Limit,
}

async fn pass(client: TcpStream, target: u16, cut: Option<Cut>, counts: &Counts) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    if matches!(cut, Some(cut) if cut.action == Action::Reset) {
        // A close then sends a reset. Nothing else closes these connections before the fault but their ends.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let limit = |direction| {
        cut.filter(|cut| cut.direction == direction)
            .map(|cut| cut.after)
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut up = Way {
        from: from_client,
        to: to_server,
        limit: limit(Direction::ToServer),
        passed: &counts.to_server,
    };
    let mut down = Way {
        from: from_server,
        to: to_client,
        limit: limit(Direction::ToClient),
        passed: &counts.to_client,
    };
    let stalls = matches!(cut, Some(cut) if cut.action == Action::Stall);
    let (end, down_ended) = tokio::select! {
        end = up.run() => (end, false),
        end = down.run() => (end, true),
    };
    if end == End::Closed {
        return;
    }
    counts.faults.fetch_add(1, Ordering::Relaxed);
    if stalls {
        // The other direction goes on until one side ends the connection.
        let _ = match down_ended {
            true => up.run().await,
            false => down.run().await,
        };
    }
}

impl Way<'_> {
    async fn run(&mut self) -> End {
        let mut buffer = [0; 4096];
        let mut passed = 0_u64;
        loop {
            if self.limit.is_some_and(|limit| passed >= limit) {
                return End::Limit;
            }
            let Ok(read @ 1..) = self.from.read(&mut buffer).await else {
                return End::Closed;
            };
            let left = self.limit.map_or(u64::MAX, |limit| limit - passed);
            let part = usize::try_from(left).unwrap_or(read).min(read);
            if self.to.write_all(&buffer[..part]).await.is_err() {
                return End::Closed;
            }
            passed += part as u64;
            self.passed.fetch_add(part as u64, Ordering::Relaxed);
        }
    }
}
