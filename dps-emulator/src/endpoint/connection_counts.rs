//! Counts the connections of each port.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::protocol::Protocol;

/// The protocols with the names of their ports.
const PORTS: [(Protocol, &str); 4] = [
    (Protocol::Https, "https"),
    (Protocol::InsecureHttp, "insecure-http"),
    (Protocol::Mqtt, "mqtt"),
    (Protocol::Amqp, "amqp"),
];

/// The connections of each port.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounts([Arc<Counts>; PORTS.len()]);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU64,
    accepted: AtomicU64,
}

/// Counts a connection as open until it is dropped.
pub(super) struct OpenConnection(Arc<Counts>);

/// The connections of a port.
#[cfg(feature = "control")]
#[derive(Debug)]
pub(crate) struct ConnectionCount {
    pub(crate) port: &'static str,
    pub(crate) open: u64,
    pub(crate) accepted: u64,
}

impl ConnectionCounts {
    pub(super) fn open(&self, protocol: Protocol) -> OpenConnection {
        let mut all = PORTS.iter().zip(&self.0);
        let own = all.find(|((other, _), _)| *other == protocol);
        let counts = Arc::clone(own.map_or(&self.0[0], |(_, counts)| counts));
        counts.open.fetch_add(1, Ordering::Relaxed);
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        OpenConnection(counts)
    }

    #[cfg(feature = "control")]
    pub(crate) fn read(&self) -> Vec<ConnectionCount> {
        let counts = PORTS.iter().zip(&self.0);
        counts
            .map(|((_, port), counts)| ConnectionCount {
                port,
                open: counts.open.load(Ordering::Relaxed),
                accepted: counts.accepted.load(Ordering::Relaxed),
            })
            .collect()
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
