//! Who is connected: one connection per device, what it is told, and what it sent. Nothing of it outlives the emulator.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dps_types::Timestamp;
use tokio::sync::mpsc;

use super::twin::DesiredUpdate;

/// How many updates may wait for a device that does not read.
const WAITING: usize = 1000;

/// The connections of all hubs, by the keys of their devices.
#[derive(Debug, Clone, Default)]
pub(super) struct Live(Arc<Mutex<HashMap<String, Entry>>>);

#[derive(Debug, Default)]
struct Entry {
    connection: Option<Connection>,
    connections: u64,
    telemetry: u64,
    last_activity: Option<Timestamp>,
}

/// What a connection is told through. Dropping it ends the connection.
#[derive(Debug)]
struct Connection {
    number: u64,
    updates: mpsc::Sender<DesiredUpdate>,
}

/// What a connection holds on to while it lasts.
#[derive(Debug)]
pub(crate) struct Attached {
    live: Live,
    key: String,
    number: u64,
    updates: mpsc::Receiver<DesiredUpdate>,
}

impl Live {
    /// A device connects. An older connection of it ends.
    pub(super) fn attach(&self, key: String, now: Timestamp) -> Attached {
        let (sender, updates) = mpsc::channel(WAITING);
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        entry.connections += 1;
        entry.last_activity = Some(now);
        let number = entry.connections;
        entry.connection = Some(Connection {
            number,
            updates: sender,
        });
        Attached {
            live: self.clone(),
            key,
            number,
            updates,
        }
    }

    /// Tells the device, if it is connected. One that does not read what it is told is cut off.
    pub(super) fn tell(&self, key: &str, update: DesiredUpdate) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(key)
            && let Some(connection) = &entry.connection
            && connection.updates.try_send(update).is_err()
        {
            entry.connection = None;
        }
    }

    /// Ends the device's connection; false when there is none.
    pub(super) fn end(&self, key: &str) -> bool {
        let mut entries = self.entries();
        let entry = entries.get_mut(key);
        entry.is_some_and(|entry| entry.connection.take().is_some())
    }

    pub(super) fn count_telemetry(&self, key: &str, now: Timestamp) {
        let mut entries = self.entries();
        let entry = entries.entry(key.to_owned()).or_default();
        entry.telemetry += 1;
        entry.last_activity = Some(now);
    }

    pub(super) fn is_connected(&self, key: &str) -> bool {
        let entries = self.entries();
        entries.get(key).is_some_and(|it| it.connection.is_some())
    }

    pub(super) fn telemetry(&self, key: &str) -> u64 {
        self.entries().get(key).map_or(0, |entry| entry.telemetry)
    }

    pub(super) fn last_activity(&self, key: &str) -> Option<Timestamp> {
        self.entries().get(key)?.last_activity
    }

    /// Nothing can panic while an entry is half changed.
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attached {
    /// The next update for the device; `None` when the connection must end. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<DesiredUpdate> {
        self.updates.recv().await
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut entries = self.live.entries();
        if let Some(entry) = entries.get_mut(&self.key)
            && entry
                .connection
                .as_ref()
                .is_some_and(|connection| connection.number == self.number)
        {
            entry.connection = None;
        }
    }
}
