//! Reports what happens to a device and its hub connection: in the log, as events, and as a state.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dps_types::HubHostname;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::cached_assignment::CachedAssignment;
use crate::error::{Error, ErrorKind};

/// How often a repeated failure is logged at `warn`. In between it is logged at `debug`.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// How many events are kept for a slow reader. The oldest are dropped first.
const EVENT_CAPACITY: usize = 64;

/// What a [`ProvisionedDevice`](crate::ProvisionedDevice) is doing, as of the last time that one of its methods was awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceState {
    /// Not connected, and nothing is in progress: before the first use, and after an error was returned.
    Disconnected,
    /// Registering with DPS.
    Registering,
    /// Connecting to the hub.
    Connecting,
    /// Connected to the hub.
    Connected,
    /// The last attempt failed. The device waits before the next one.
    Retrying,
}

/// Something that happened to a [`ProvisionedDevice`](crate::ProvisionedDevice). No event holds a credential.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// The device starts to register with DPS.
    Registering,
    /// The device knows its hub: from a registration, or because DPS was asked after an outage.
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
        /// The wait before the next attempt. `None` if the failure is not retried here.
        retry_in: Option<Duration>,
    },
}

/// The events of a device, from [`ProvisionedDevice::events`](crate::ProvisionedDevice::events).
///
/// It holds the last 64 events that were not read; older ones are dropped.
pub struct DeviceEvents(broadcast::Receiver<DeviceEvent>);

impl DeviceEvents {
    /// The next event. `None` after the device was dropped. Cancel safe: dropping the future loses no event.
    pub async fn next(&mut self) -> Option<DeviceEvent> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(dropped)) => debug!(dropped, "events were not read in time"),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl fmt::Debug for DeviceEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceEvents")
            .field("unread", &self.0.len())
            .finish()
    }
}

/// Shared by everything that works for one device.
#[derive(Clone)]
pub(super) struct Monitor(Arc<Inner>);

struct Inner {
    events: broadcast::Sender<DeviceEvent>,
    status: Mutex<Status>,
}

struct Status {
    state: DeviceState,
    warnings: HashMap<Failure, Warning>,
}

/// Failures are logged separately if they differ in what failed or in the kind of the error. There are only a few of each.
type Failure = (&'static str, ErrorKind);

struct Warning {
    last: Instant,
    /// Failures since then that were not logged at `warn`.
    repeated: u64,
}

impl Monitor {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            events: broadcast::Sender::new(EVENT_CAPACITY),
            status: Mutex::new(Status {
                state: DeviceState::Disconnected,
                warnings: HashMap::new(),
            }),
        }))
    }

    pub(super) fn state(&self) -> DeviceState {
        self.status().state
    }

    pub(super) fn events(&self) -> DeviceEvents {
        DeviceEvents(self.0.events.subscribe())
    }

    pub(super) fn disconnected(&self) {
        self.status().state = DeviceState::Disconnected;
    }

    pub(super) fn registering(&self) {
        debug!("registering with DPS to find the hub");
        self.status().state = DeviceState::Registering;
        self.emit(DeviceEvent::Registering);
    }

    pub(super) fn assigned(&self, assignment: &CachedAssignment) {
        info!(hub = %assignment.hub(), device_id = %assignment.device_id(), "the device is assigned to this hub");
        self.status().state = DeviceState::Disconnected;
        self.emit(DeviceEvent::Assigned(Box::new(assignment.clone())));
    }

    pub(super) fn connecting(&self, hub: &HubHostname) {
        debug!(%hub, "connecting to the hub");
        self.status().state = DeviceState::Connecting;
        self.emit(DeviceEvent::Connecting(hub.clone()));
    }

    pub(super) fn connected(&self, hub: &HubHostname) {
        info!(%hub, "connected to the hub");
        self.status().state = DeviceState::Connected;
        self.emit(DeviceEvent::Connected(hub.clone()));
    }

    /// A failure after which the device tries again.
    pub(super) fn retrying(&self, what: &'static str, error: &Error, retry_in: Duration) {
        self.status().state = DeviceState::Retrying;
        self.failed(what, error, Some(retry_in));
    }

    /// A failure that is returned to the caller and ends the connection.
    pub(super) fn gave_up(&self, what: &'static str, error: &Error) {
        self.status().state = DeviceState::Disconnected;
        self.failed(what, error, None);
    }

    /// A failure that leaves the connection as it is.
    pub(super) fn failed(&self, what: &'static str, error: &Error, retry_in: Option<Duration>) {
        match self.status().warning_is_due((what, error.kind())) {
            Some(repeated) => warn!(error = %Chain(error), ?retry_in, repeated, "{what}"),
            None => debug!(error = %Chain(error), ?retry_in, "{what}"),
        }
        self.emit(DeviceEvent::Failed {
            error: error.clone(),
            retry_in,
        });
    }

    fn emit(&self, event: DeviceEvent) {
        // It fails if there is no reader, which is fine.
        let _ = self.0.events.send(event);
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Status {
    /// Counts a failure. Returns how often it was repeated since the last warning if a warning is due.
    fn warning_is_due(&mut self, failure: Failure) -> Option<u64> {
        let now = Instant::now();
        let Some(warning) = self.warnings.get_mut(&failure) else {
            let first = Warning {
                last: now,
                repeated: 0,
            };
            self.warnings.insert(failure, first);
            return Some(0);
        };
        if now.duration_since(warning.last) < WARNING_INTERVAL {
            warning.repeated += 1;
            return None;
        }
        warning.last = now;
        Some(std::mem::take(&mut warning.repeated))
    }
}

/// An error with all its sources, for the log.
pub(super) struct Chain<'a>(pub(super) &'a (dyn StdError + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Error {
        Error::new(ErrorKind::Connect, "no connection")
            .with_source(std::io::Error::other("refused"))
    }

    #[test]
    fn the_chain_has_every_source() {
        assert_eq!(Chain(&failure()).to_string(), "no connection: refused");
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_is_due_the_first_time_and_then_once_a_minute() {
        let monitor = Monitor::new();
        let due = || {
            let failure = ("no connection", ErrorKind::Connect);
            monitor.status().warning_is_due(failure)
        };
        assert_eq!(due(), Some(0));
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(15)).await;
            assert_eq!(due(), None);
        }
        tokio::time::advance(Duration::from_secs(15)).await;
        assert_eq!(due(), Some(3));
        assert_eq!(due(), None);
        let another = ("no connection", ErrorKind::Unauthorized);
        assert_eq!(monitor.status().warning_is_due(another), Some(0));
    }

    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest_events_only() {
        let monitor = Monitor::new();
        let mut events = monitor.events();
        for _ in 0..EVENT_CAPACITY {
            monitor.failed("test", &failure(), None);
        }
        monitor.registering();
        drop(monitor);
        let mut kinds = Vec::new();
        while let Some(event) = events.next().await {
            kinds.push(matches!(event, DeviceEvent::Registering));
        }
        assert_eq!(kinds.len(), EVENT_CAPACITY);
        assert_eq!(kinds.last(), Some(&true));
    }
}
