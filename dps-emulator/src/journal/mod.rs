//! The exchanges with devices and operators: the latest ones, a live stream of them, and their counts.

mod exchange;
mod mask;
#[cfg(feature = "control")]
mod metrics;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dps_types::Clock;
use tokio::sync::broadcast;

pub use exchange::{Actor, Exchange};
#[cfg(feature = "control")]
pub(crate) use mask::{MASK, masked, masked_text};
#[cfg(feature = "control")]
use metrics::Metrics;
#[cfg(feature = "control")]
pub(crate) use metrics::Sample;

/// The exchanges that may wait for a slow reader of the live stream. It then misses the oldest.
const LIVE: usize = 256;

/// Keeps the latest exchanges.
#[derive(Debug)]
pub(crate) struct Journal {
    clock: Arc<dyn Clock>,
    /// The most exchanges that are kept.
    capacity: usize,
    latest: Mutex<VecDeque<Arc<Exchange>>>,
    live: broadcast::Sender<Arc<Exchange>>,
    count: AtomicU64,
    #[cfg(feature = "control")]
    metrics: Metrics,
}

impl Journal {
    pub(crate) fn new(clock: Arc<dyn Clock>, capacity: usize) -> Self {
        Self {
            clock,
            capacity,
            latest: Mutex::default(),
            live: broadcast::channel(LIVE).0,
            count: AtomicU64::new(0),
            #[cfg(feature = "control")]
            metrics: Metrics::default(),
        }
    }

    /// Adds an exchange, and sets its id and time.
    pub(crate) fn add(&self, mut exchange: Exchange) {
        exchange.time = self.clock.now().into();
        #[cfg(feature = "control")]
        self.metrics.count(&exchange);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        exchange.id = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let exchange = Arc::new(exchange);
        if latest.len() >= self.capacity {
            latest.pop_front();
        }
        latest.push_back(Arc::clone(&exchange));
        drop(latest);
        // An error means that there is no reader.
        let _ = self.live.send(exchange);
    }

    /// The exchanges that are kept, the oldest first.
    pub(crate) fn latest(&self) -> Vec<Arc<Exchange>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.iter().cloned().collect()
    }

    /// The exchanges from now on.
    #[cfg(feature = "control")]
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Exchange>> {
        self.live.subscribe()
    }

    /// Forgets the exchanges. Ids and counts go on.
    #[cfg(feature = "control")]
    pub(crate) fn clear(&self) {
        self.latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    #[cfg(feature = "control")]
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

#[cfg(test)]
mod tests {
    use dps_types::SystemClock;

    use super::*;

    #[tokio::test]
    async fn the_latest_exchanges_are_kept_and_sent() {
        let journal = Journal::new(Arc::new(SystemClock), 2);
        let mut live = journal.subscribe();
        for request in ["a", "b", "c"] {
            journal.add(Exchange::new(Actor::Operator, "HTTPS", request));
        }
        let kept: Vec<(u64, String)> = journal
            .latest()
            .iter()
            .map(|it| (it.id, it.request.clone()))
            .collect();
        assert_eq!(kept, [(2, "b".to_owned()), (3, "c".to_owned())]);
        assert_eq!(live.recv().await.expect("sent").request, "a");
        journal.clear();
        assert!(journal.latest().is_empty());
        journal.add(Exchange::new(Actor::Operator, "HTTPS", "d"));
        assert_eq!(journal.latest()[0].id, 4);
    }
}
