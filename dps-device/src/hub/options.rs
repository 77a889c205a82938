//! The settings of a connection to a hub that do not depend on the hub.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::outbox::{Limits, Overflow};
use super::queue::{MemoryQueue, MessageQueue};
use super::recovery::Recovery;
use crate::client::ProvisioningClient;

/// The settings of a connection: the message queue, the recovery, and what the device receives.
///
/// # What may be lost, and what may be sent twice
///
/// A message is accepted when [`send`](crate::DeviceHandle::send) or [`enqueue`](crate::DeviceHandle::enqueue) has put it into the
/// queue. Messages are sent in that order with QoS 1 and stay in the queue until the hub acknowledges them.
///
/// * If the connection is lost, all messages that were not acknowledged are sent again, in order. The hub may have received them
///   before, so it may have them twice, and the second copies may follow later messages.
/// * With a [`MemoryQueue`] a restart of the program loses the messages that were not acknowledged. With a
///   [`FileQueue`](crate::FileQueue) it loses none, also if the power fails; messages that were acknowledged just before may be sent
///   again.
/// * A message is dropped only by [`Overflow::DropOldest`], and by the hub, which does not acknowledge a message that it refuses.
/// * If the future of `enqueue` or `send` is dropped before it has returned, the message may be sent or not.
///
/// To find duplicates, the receiver needs an id in the message: see [`Message::with_message_id`](crate::Message::with_message_id).
///
/// ```no_run
/// # fn device(device: dps_device::ProvisionedDevice) -> dps_device::ProvisionedDevice {
/// use dps_device::{ConnectOptions, FileQueue, Overflow};
///
/// let options = ConnectOptions::new()
///     .with_queue(FileQueue::new("/var/lib/toaster/queue"))
///     .with_queue_limits(10_000, 64 * 1024 * 1024, Overflow::DropOldest)
///     .without_methods();
/// device.with_options(options)
/// # }
/// ```
#[derive(Clone)]
pub struct ConnectOptions {
    pub(super) recovery: Recovery,
    pub(super) queue: Arc<dyn MessageQueue>,
    pub(super) limits: Limits,
    pub(super) window: u16,
    pub(super) request_timeout: Duration,
    pub(super) method_timeout: Duration,
    pub(super) twin: bool,
    pub(super) messages: bool,
    pub(super) methods: bool,
}

impl ConnectOptions {
    /// A queue in memory for 1,000 messages and 8 MiB, the default [`Recovery`], and everything that a hub sends.
    pub fn new() -> Self {
        Self {
            recovery: Recovery::new(),
            queue: Arc::new(MemoryQueue::new()),
            limits: Limits {
                messages: 1000,
                bytes: 8 * 1024 * 1024,
                overflow: Overflow::default(),
            },
            window: 32,
            request_timeout: ProvisioningClient::DEFAULT_DEADLINE,
            method_timeout: Duration::from_secs(30),
            twin: true,
            messages: true,
            methods: true,
        }
    }

    /// Sets what happens after a failure.
    #[must_use]
    pub fn with_recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Keeps messages in this queue. Each connection needs its own.
    #[must_use]
    pub fn with_queue(mut self, queue: impl MessageQueue + 'static) -> Self {
        self.queue = Arc::new(queue);
        self
    }

    /// Sets the maximum number of messages and of bytes in the queue, and the treatment of a message that does not fit.
    #[must_use]
    pub fn with_queue_limits(mut self, messages: usize, bytes: usize, overflow: Overflow) -> Self {
        self.limits = Limits {
            messages: messages.max(1),
            bytes,
            overflow,
        };
        self
    }

    /// Sets how many messages may be sent before the first of them is acknowledged: 1 to 1,000. The default is 32.
    #[must_use]
    pub fn with_max_in_flight(mut self, messages: u16) -> Self {
        self.window = messages.clamp(1, 1000);
        self
    }

    /// Sets how long a request of a [`DeviceHandle`](crate::DeviceHandle) may take, reconnects included. The default is
    /// [`ProvisioningClient::DEFAULT_DEADLINE`]. Messages wait without a limit.
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how long the program may take to respond to a direct method. The device then responds with the status 504. The default
    /// is 30 seconds, as at the hub; a caller can choose another timeout, which the hub does not send to the device.
    #[must_use]
    pub fn with_method_timeout(mut self, timeout: Duration) -> Self {
        self.method_timeout = timeout.min(Duration::from_secs(300));
        self
    }

    /// Does not follow the twin: there are no events [`Twin`](crate::DeviceEvent::Twin) and
    /// [`Desired`](crate::DeviceEvent::Desired), and no download after each reconnect. Requests about the twin still work.
    #[must_use]
    pub fn without_twin_events(mut self) -> Self {
        self.twin = false;
        self
    }

    /// Receives no messages. The hub keeps cloud-to-device messages until they expire.
    #[must_use]
    pub fn without_messages(mut self) -> Self {
        self.messages = false;
        self
    }

    /// Accepts no direct methods. The hub reports to callers that the device does not respond.
    #[must_use]
    pub fn without_methods(mut self) -> Self {
        self.methods = false;
        self
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("recovery", &self.recovery)
            .field("queue", &self.queue)
            .field("limits", &self.limits)
            .field("max_in_flight", &self.window)
            .field("method_timeout", &self.method_timeout)
            .field("twin_events", &self.twin)
            .field("messages", &self.messages)
            .field("methods", &self.methods)
            .finish()
    }
}
