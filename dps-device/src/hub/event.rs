//! The events of a device: changes of its state, and everything that its hub sends.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dps_types::HubHostname;
use tokio::sync::Notify;

use super::cached_assignment::CachedAssignment;
use super::method::MethodRequest;
use super::received::ReceivedMessage;
use super::twin::{Twin, TwinProperties};
#[cfg(feature = "certificates")]
use crate::certificate::CertificateEvent;
use crate::error::Error;

/// Something that happened to a device, or that its hub sent. No event shows a credential.
///
/// ```no_run
/// # async fn example(mut events: dps_device::DeviceEvents) -> Result<(), dps_device::Error> {
/// use dps_device::DeviceEvent;
///
/// while let Some(event) = events.next().await {
///     match event {
///         DeviceEvent::Connected(hub) => println!("connected to {hub}"),
///         DeviceEvent::Desired(change) => println!("changed: {:?}", change.as_map()),
///         DeviceEvent::Message(message) => println!("{} bytes", message.payload().len()),
///         DeviceEvent::Method(method) => method.respond(200, "done")?,
///         DeviceEvent::Failed { error, .. } => eprintln!("{error:#}"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// The device starts to register with DPS.
    Registering,
    /// The device has found its hub: by a registration, or by a lookup at DPS after an outage.
    Assigned(Box<CachedAssignment>),
    /// The device starts to connect to this hub.
    Connecting(HubHostname),
    /// The device is connected to this hub.
    Connected(HubHostname),
    /// Something failed: a connection, a request or a registration.
    #[non_exhaustive]
    Failed {
        /// The failure.
        error: Error,
        /// The wait before the next attempt. `None` if the failure is not retried.
        retry_in: Option<Duration>,
    },
    /// An event of the certificate that was issued for the device.
    #[cfg(feature = "certificates")]
    Certificate(CertificateEvent),
    /// The whole twin: the device has none yet, has another hub, or missed a change.
    Twin(Box<Twin>),
    /// The desired properties that the service changed, to be [merged](TwinProperties::merge) into those that the device has.
    /// Changes arrive in order, each once, and none is missed.
    Desired(TwinProperties),
    /// A message for the device. It is acknowledged when it is dropped.
    Message(ReceivedMessage),
    /// A direct method, whose caller waits for the response.
    Method(MethodRequest),
}

/// The maximum number of events of each class that are kept for a slow reader.
const MAX_STATES: usize = 64;
const MAX_CHANGES: usize = 32;
const MAX_MESSAGES: usize = 64;

/// The events that were not read. Each class has its own limit, so that one cannot displace another.
#[derive(Default)]
pub(super) struct EventBuffer {
    events: Mutex<VecDeque<DeviceEvent>>,
    /// An event was read.
    pub(super) taken: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    State,
    Twin,
    Change,
    Message,
    Method,
}

impl EventBuffer {
    pub(super) fn pop(&self) -> Option<DeviceEvent> {
        let event = self.events().pop_front()?;
        self.taken.notify_one();
        Some(event)
    }

    /// Adds an event about the device itself. If there are too many, the oldest one is dropped.
    pub(super) fn push_state(&self, event: DeviceEvent) {
        let mut events = self.events();
        if count(&events, Class::State) >= MAX_STATES {
            remove_first(&mut events, Class::State);
        }
        events.push_back(event);
    }

    /// Adds a twin, which replaces one that was not read.
    pub(super) fn push_twin(&self, twin: Twin) {
        let mut events = self.events();
        remove_first(&mut events, Class::Twin);
        events.push_back(DeviceEvent::Twin(Box::new(twin)));
    }

    /// Returns false if the reader is too slow. The change is then dropped.
    pub(super) fn push_change(&self, change: TwinProperties) -> bool {
        let mut events = self.events();
        let fits = count(&events, Class::Change) < MAX_CHANGES;
        if fits {
            events.push_back(DeviceEvent::Desired(change));
        }
        fits
    }

    /// Returns false if another message does not fit.
    pub(super) fn has_capacity_for_message(&self) -> bool {
        count(&self.events(), Class::Message) < MAX_MESSAGES
    }

    pub(super) fn push_message(&self, message: ReceivedMessage) {
        self.events().push_back(DeviceEvent::Message(message));
    }

    pub(super) fn push_method(&self, method: MethodRequest) {
        self.events().push_back(DeviceEvent::Method(method));
    }

    /// Returns true if the reader has read all changes.
    pub(super) fn changes_are_read(&self) -> bool {
        count(&self.events(), Class::Change) == 0
    }

    /// Drops the messages and methods that can no longer be acknowledged or answered.
    pub(super) fn clear(&self) {
        let events = std::mem::take(&mut *self.events());
        drop(events);
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<DeviceEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn class(event: &DeviceEvent) -> Class {
    match event {
        DeviceEvent::Twin(_) => Class::Twin,
        DeviceEvent::Desired(_) => Class::Change,
        DeviceEvent::Message(_) => Class::Message,
        DeviceEvent::Method(_) => Class::Method,
        _ => Class::State,
    }
}

fn count(events: &VecDeque<DeviceEvent>, of: Class) -> usize {
    events.iter().filter(|event| class(event) == of).count()
}

fn remove_first(events: &mut VecDeque<DeviceEvent>, of: Class) {
    if let Some(position) = events.iter().position(|event| class(event) == of) {
        events.remove(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_loses_the_oldest_states_only() {
        let buffer = EventBuffer::default();
        let hub: HubHostname = "hub".parse().unwrap();
        let change = || TwinProperties::change(1, b"{}").unwrap();
        assert!(buffer.push_change(change()));
        buffer.push_state(DeviceEvent::Registering);
        for _ in 0..MAX_STATES {
            buffer.push_state(DeviceEvent::Connecting(hub.clone()));
        }
        assert!(matches!(buffer.pop(), Some(DeviceEvent::Desired(_))));
        for _ in 0..MAX_STATES {
            assert!(matches!(buffer.pop(), Some(DeviceEvent::Connecting(_))));
        }
        assert!(buffer.pop().is_none());
    }

    #[test]
    fn changes_are_bounded() {
        let buffer = EventBuffer::default();
        let change = || TwinProperties::change(1, b"{}").unwrap();
        for _ in 0..MAX_CHANGES {
            assert!(buffer.push_change(change()));
        }
        assert!(!buffer.push_change(change()));
        assert!(!buffer.changes_are_read());
        while buffer.pop().is_some() {}
        assert!(buffer.changes_are_read());
    }
}
