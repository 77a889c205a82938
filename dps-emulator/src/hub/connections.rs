//! The connections of devices and modules to their hubs: one for each, with its pending messages and counters. Kept in memory
//! only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dps_types::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::methods::MethodCall;
use super::twin::DesiredUpdate;

/// The number of messages that may wait for a device that does not read.
const MAX_PENDING: usize = 1000;

/// The connections to all hubs, by identity key.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: Mutex<HashMap<String, Activity>>,
    /// A device has connected, or subscribed to direct methods.
    reachable: Notify,
}

#[derive(Debug, Default)]
struct Activity {
    connection: Option<Connection>,
    /// The number of connections so far.
    connections: u64,
    telemetry: u64,
    last_activity: Option<Timestamp>,
    model_id: Option<String>,
}

/// The hub's end of a connection. Dropping it ends the connection.
#[derive(Debug)]
struct Connection {
    number: u64,
    messages: mpsc::Sender<ToDevice>,
    /// Whether the device has subscribed to direct methods.
    receives_methods: bool,
}

/// What the hub sends to a connected device unasked.
#[derive(Debug)]
pub(crate) enum ToDevice {
    Desired(DesiredUpdate),
    Method(MethodCall),
}

/// The device's end of a connection, which holds it for as long as the device is connected.
#[derive(Debug)]
pub(crate) struct DeviceSession {
    connections: Connections,
    key: String,
    number: u64,
    messages: mpsc::Receiver<ToDevice>,
}

impl Connections {
    /// Connects a device. An older connection of the same device ends.
    pub(super) fn connect(
        &self,
        key: String,
        now: Timestamp,
        model_id: Option<String>,
    ) -> DeviceSession {
        let (sender, messages) = mpsc::channel(MAX_PENDING);
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        entry.connections += 1;
        entry.last_activity = Some(now);
        entry.model_id = model_id;
        let number = entry.connections;
        entry.connection = Some(Connection {
            number,
            messages: sender,
            receives_methods: false,
        });
        DeviceSession {
            connections: self.clone(),
            key,
            number,
            messages,
        }
    }

    /// Sends a message to the device if it is connected. A device with too many pending messages is disconnected.
    pub(super) fn send(&self, key: &str, message: ToDevice) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(key)
            && let Some(connection) = &entry.connection
            && connection.messages.try_send(message).is_err()
        {
            entry.connection = None;
        }
    }

    /// Sends a method to the device if it is connected and has subscribed to methods; otherwise returns the method.
    pub(super) fn send_method(&self, key: &str, call: MethodCall) -> Result<(), MethodCall> {
        let entries = self.entries();
        let connection = entries
            .get(key)
            .and_then(|entry| entry.connection.as_ref())
            .filter(|connection| connection.receives_methods);
        let Some(connection) = connection else {
            return Err(call);
        };
        match connection.messages.try_send(ToDevice::Method(call)) {
            Ok(()) => Ok(()),
            Err(refused) => match refused.into_inner() {
                ToDevice::Method(call) => Err(call),
                ToDevice::Desired(_) => Ok(()),
            },
        }
    }

    /// Completes when a device has connected or subscribed to methods after this call.
    pub(super) fn reachable(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.reachable.notified()
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

    /// The IoT Plug and Play model that the device named when it connected last.
    pub(super) fn model_id(&self, key: &str) -> Option<String> {
        self.entries().get(key)?.model_id.clone()
    }

    /// No code panics while it holds this lock, so a poisoned lock still guards valid data.
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Activity>> {
        self.0
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceSession {
    /// The next message for the device; `None` if the connection must end. Dropping the future loses no message.
    pub(crate) async fn next(&mut self) -> Option<ToDevice> {
        self.messages.recv().await
    }

    /// The device has subscribed to direct methods, or has unsubscribed.
    pub(crate) fn receive_methods(&self, receives: bool) {
        let mut entries = self.connections.entries();
        if let Some(entry) = entries.get_mut(&self.key)
            && let Some(connection) = entry.connection.as_mut()
            && connection.number == self.number
        {
            connection.receives_methods = receives;
        }
        drop(entries);
        self.connections.0.reachable.notify_waiters();
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
