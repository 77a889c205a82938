//! This emulator as one of several that share a database: its id, its heartbeat, and the messages to the others.
//!
//! Emulators with one database are one DPS. A replica that dies leaves operations behind, which another one takes over: see
//! ADR 015 for the protocol.

mod bus;
mod inbox;
mod living;
mod message;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::state::store::{Expected, Pages, Store, StoreError, Table};
pub(crate) use bus::Bus;
pub(crate) use inbox::receive;
pub(crate) use living::Living;
pub(crate) use message::{Envelope, Message};

/// The number of heartbeats in the time after which a replica without one counts as dead.
const BEATS: u32 = 5;
/// The shortest time between two heartbeats. A timer requires a time that is not zero.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest time for the removal of the heartbeat when the emulator stops.
const LEAVE: Duration = Duration::from_secs(2);

/// This emulator's part in a database that several emulators may share.
#[derive(Debug)]
pub(crate) struct Replica {
    id: Arc<str>,
    store: Arc<dyn Store>,
    timeout: Duration,
    beats: AtomicU64,
}

impl Replica {
    pub(crate) fn new(id: Arc<str>, store: Arc<dyn Store>, timeout: Duration) -> Self {
        Self {
            id,
            store,
            timeout,
            beats: AtomicU64::new(0),
        }
    }

    /// The time between two heartbeats.
    pub(crate) fn interval(&self) -> Duration {
        (self.timeout / BEATS).max(SHORTEST)
    }

    /// The replicas that this one has observed; only this one at first.
    pub(crate) fn observer(&self) -> Living {
        Living::new(BEATS)
    }

    /// Writes a heartbeat: a value that differs from the one before.
    pub(crate) async fn beat(&self) -> Result<(), StoreError> {
        let beat = self.beats.fetch_add(1, Ordering::Relaxed).to_string();
        let value = beat.into_bytes();
        self.store
            .put(Table::Replicas, &self.id, Expected::Anything, value)
            .await?;
        Ok(())
    }

    /// The latest heartbeats, by replica.
    pub(crate) async fn heartbeats(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Pages::all(&*self.store, Table::Replicas).collect().await
    }

    /// Removes the heartbeat of a dead replica. If it lives, its next heartbeat writes it again.
    pub(crate) async fn forget(&self, id: &str, heartbeat: &[u8]) -> Result<(), StoreError> {
        let expected = Expected::Exactly(heartbeat);
        self.store.delete(Table::Replicas, id, expected).await?;
        Ok(())
    }

    /// Removes the own heartbeat, so that others take over at once.
    pub(crate) async fn leave(&self) {
        let left = self
            .store
            .delete(Table::Replicas, &self.id, Expected::Anything);
        match timeout(LEAVE, left).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the heartbeat could not be removed; other replicas take over after a time");
            }
            Err(_) => {
                tracing::warn!(
                    "the heartbeat was not removed in time; other replicas take over after a time"
                );
            }
        }
    }
}
