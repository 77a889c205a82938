//! The connections of devices to their hubs: one per device, with its pending updates and counters. Kept in memory only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dps_types::Timestamp;
use tokio::sync::mpsc;

use super::twin::DesiredUpdate;

/// The number of updates that may wait for a device that does not read.
const MAX_PENDING_UPDATES: usize = 1000;

/// The connections to all hubs, by device key.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<String, Activity>>>);

#[derive(Debug, Default)]
struct Activity {
    connection: Option<Connection>,
    /// The number of connections so far.
    connections: u64,
    telemetry: u64,
    last_activity: Option<Timestamp>,
}

/// The hub's end of a connection. Dropping it ends the connection.
#[derive(Debug)]
struct Connection {
    number: u64,
    updates: mpsc::Sender<DesiredUpdate>,
}

/// The device's end of a connection, which holds it for as long as the device is connected.
#[derive(Debug)]
pub(crate) struct DeviceSession {
    connections: Connections,
    key: String,
    number: u64,
    updates: mpsc::Receiver<DesiredUpdate>,
}

impl Connections {
    /// Connects a device. An older connection of the same device ends.
    pub(super) fn connect(&self, key: String, now: Timestamp) -> DeviceSession {
        let (sender, updates) = mpsc::channel(MAX_PENDING_UPDATES);
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        entry.connections += 1;
        entry.last_activity = Some(now);
        let number = entry.connections;
        entry.connection = Some(Connection {
            number,
            updates: sender,
        });
        DeviceSession {
            connections: self.clone(),
            key,
            number,
            updates,
        }
    }

    /// Sends an update to the device if it is connected. A device with too many pending updates is disconnected.
    pub(super) fn send(&self, key: &str, update: DesiredUpdate) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(key)
            && let Some(connection) = &entry.connection
            && connection.updates.try_send(update).is_err()
        {
            entry.connection = None;
        }
    }

    /// Ends the device's connection; false if it has none.
    pub(super) fn disconnect(&self, key: &str) -> bool {
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

    /// No code panics while it holds this lock, so a poisoned lock still guards valid data.
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Activity>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceSession {
    /// The next update for the device; `None` if the connection must end. Dropping the future loses no update.
    pub(crate) async fn next(&mut self) -> Option<DesiredUpdate> {
        self.updates.recv().await
    }
}

impl Drop for DeviceSession {
    fn drop(&mut self) {
        let mut entries = self.connections.entries();
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
