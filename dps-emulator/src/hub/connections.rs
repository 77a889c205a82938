//! The connections of devices and modules to their hubs: one for each, with its pending messages and counters. Kept in memory
//! only.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dps_mqtt::QoS;
use dps_types::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::methods::MethodCall;
use super::subscriptions::{Subscription, Subscriptions};
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
    /// Whether other replicas send messages to devices here. Their messages may arrive out of order.
    is_shared: bool,
}

#[derive(Debug, Default)]
struct Activity {
    connection: Option<Connection>,
    /// The number of connections so far.
    connections: u64,
    telemetry: u64,
    last_activity: Option<Timestamp>,
    model_id: Option<String>,
    /// The subscriptions that are kept when the device disconnects: those of its MQTT session.
    session: Option<Subscriptions>,
}

/// The hub's end of a connection. Dropping it ends the connection.
#[derive(Debug)]
struct Connection {
    number: u64,
    messages: mpsc::Sender<ToDevice>,
    /// Whether the device has subscribed to direct methods.
    receives_methods: bool,
    /// Whether the message to the other replicas about this connection has come back.
    is_announced: bool,
    /// The version of the desired properties that the device has.
    desired_version: Option<u64>,
}

/// The messages that the hub sends to a connected device without a request.
#[derive(Debug)]
pub(crate) enum ToDevice {
    Desired(DesiredUpdate),
    Method(MethodCall),
    /// There is a new message in the device's queue.
    MessageQueued,
}

/// The device's end of a connection, which holds it for as long as the device is connected.
#[derive(Debug)]
pub(crate) struct DeviceSession {
    connections: Connections,
    key: String,
    number: u64,
    messages: mpsc::Receiver<ToDevice>,
    subscriptions: Subscriptions,
    /// Whether the session is kept after the connection.
    is_kept: bool,
    /// Whether the session of an earlier connection continues.
    is_resumed: bool,
}

impl Connections {
    /// `is_shared` is whether other replicas send messages to devices here.
    pub(super) fn new(is_shared: bool) -> Self {
        Self(Arc::new(Inner {
            is_shared,
            ..Inner::default()
        }))
    }

    /// Connects a device. An older connection of the same device ends.
    pub(super) fn connect(
        &self,
        key: String,
        now: Timestamp,
        model_id: Option<String>,
        clean_session: bool,
    ) -> DeviceSession {
        let (sender, messages) = mpsc::channel(MAX_PENDING);
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        entry.connections += 1;
        entry.last_activity = Some(now);
        entry.model_id = model_id;
        let earlier = entry.session.take().filter(|_| !clean_session);
        let is_resumed = earlier.is_some();
        let subscriptions = earlier.unwrap_or_default();
        entry.session = (!clean_session).then(|| subscriptions.clone());
        let number = entry.connections;
        entry.connection = Some(Connection {
            number,
            messages: sender,
            receives_methods: subscriptions.qos(Subscription::Methods).is_some(),
            is_announced: false,
            desired_version: None,
        });
        drop(entries);
        self.0.reachable.notify_waiters();
        DeviceSession {
            connections: self.clone(),
            key,
            number,
            messages,
            subscriptions,
            is_kept: !clean_session,
            is_resumed,
        }
    }

    /// Sends a message to the device if it is connected. A device with too many pending messages is disconnected, and a device
    /// that would receive changes of its desired properties out of order: it reads its twin when it connects again.
    pub(super) fn send(&self, key: &str, message: ToDevice) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(key)
            && let Some(connection) = &mut entry.connection
        {
            let is_missing = match &message {
                ToDevice::Desired(update) if self.0.is_shared => {
                    match connection.follows(update.version) {
                        Ordering::Less => return,
                        order => order == Ordering::Greater,
                    }
                }
                _ => false,
            };
            if is_missing || connection.messages.try_send(message).is_err() {
                entry.connection = None;
            }
        }
    }

    /// The device has desired properties of at least this version.
    pub(super) fn has_desired(&self, key: &str, version: u64) {
        let mut entries = self.entries();
        let connection = entries
            .get_mut(key)
            .and_then(|entry| entry.connection.as_mut());
        if let Some(connection) = connection {
            connection.desired_version = connection.desired_version.max(Some(version));
        }
    }

    /// The message to all replicas about this connection has come back. A message of another replica that arrives later is about
    /// a newer connection.
    pub(super) fn announced(&self, key: &str, number: u64) {
        let mut entries = self.entries();
        let connection = entries
            .get_mut(key)
            .and_then(|entry| entry.connection.as_mut());
        if let Some(connection) = connection.filter(|connection| connection.number == number) {
            connection.is_announced = true;
        }
    }

    /// The device has connected to another replica. Ends an older connection here. With LISTEN all replicas receive such messages
    /// in the same order, so that one connection remains. Replicas that poll a table can receive two messages of the same moment in
    /// different orders; then two connections, or none, remain.
    pub(super) fn connected_elsewhere(&self, key: &str) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(key)
            && entry.connection.as_ref().is_some_and(|it| it.is_announced)
        {
            entry.connection = None;
        }
        drop(entries);
        self.retry();
    }

    /// Lets callers of direct methods try again.
    pub(super) fn retry(&self) {
        self.0.reachable.notify_waiters();
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
                _ => Ok(()),
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

    /// Ends all connections.
    pub(super) fn disconnect_all(&self) {
        for entry in self.entries().values_mut() {
            entry.connection = None;
        }
    }

    /// Ends the connection of a device that is removed, and forgets its session.
    pub(super) fn remove(&self, key: &str) {
        if let Some(entry) = self.entries().get_mut(key) {
            entry.connection = None;
            entry.session = None;
        }
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

impl Connection {
    /// Compares the version of a change of desired properties with the next one that the device needs: `Less` if the device has
    /// it, and `Greater` if an earlier change is missing.
    fn follows(&mut self, version: u64) -> Ordering {
        let next = self
            .desired_version
            .map_or(version, |has| has.saturating_add(1));
        let order = version.cmp(&next);
        if order == Ordering::Equal {
            self.desired_version = Some(version);
        }
        order
    }
}

impl DeviceSession {
    /// The number of the connection among those of this device.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next message for the device; `None` if the connection must end. Dropping the future loses no message.
    pub(crate) async fn next(&mut self) -> Option<ToDevice> {
        self.messages.recv().await
    }

    /// Whether the session of an earlier connection continues, with its subscriptions.
    pub(crate) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The granted QoS; `None` without a subscription.
    pub(crate) fn qos(&self, subscription: Subscription) -> Option<QoS> {
        self.subscriptions.qos(subscription)
    }

    /// Adds a subscription; false if the connection has as many as it may have.
    pub(crate) fn subscribe(&mut self, subscription: Subscription, qos: QoS, limit: u64) -> bool {
        let added = self.subscriptions.add(subscription, qos, limit);
        self.subscribed();
        added
    }

    pub(crate) fn unsubscribe(&mut self, subscription: Subscription) {
        self.subscriptions.remove(subscription);
        self.subscribed();
    }

    fn subscribed(&self) {
        let mut entries = self.connections.entries();
        if let Some(entry) = entries.get_mut(&self.key)
            && let Some(connection) = entry.connection.as_mut()
            && connection.number == self.number
        {
            connection.receives_methods = self.qos(Subscription::Methods).is_some();
            if self.is_kept {
                entry.session = Some(self.subscriptions.clone());
            }
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
