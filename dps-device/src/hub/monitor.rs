//! Reports what happens to a device and its hub connection: in the log, as events, and as a state.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
#[cfg(feature = "certificates")]
use std::time::SystemTime;

use dps_types::HubHostname;
#[cfg(feature = "certificates")]
use dps_types::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::cached_assignment::CachedAssignment;
use super::event::{DeviceEvent, EventBuffer};
#[cfg(feature = "certificates")]
use crate::certificate::CertificateEvent;
use crate::error::{Error, ErrorKind};

/// The minimum interval between two warnings about a repeated failure, which is logged at `debug` in between. It is the shortest
/// possible wait at the slowest pace (60 s less 20 %), so that each attempt at that pace is logged at `warn`.
const WARNING_INTERVAL: Duration = Duration::from_secs(48);

/// The state of a connection, as of the last time that its events were polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceState {
    /// Not connected, and nothing is in progress: before the first use, and after the end.
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

/// Shared by everything that works for one device.
#[derive(Clone)]
pub(super) struct Monitor(Arc<Inner>);

struct Inner {
    events: EventBuffer,
    state: watch::Sender<DeviceState>,
    status: Mutex<Status>,
}

#[derive(Default)]
struct Status {
    warnings: HashMap<Failure, Warning>,
    last_failure: Option<Error>,
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
            events: EventBuffer::default(),
            state: watch::Sender::new(DeviceState::Disconnected),
            status: Mutex::default(),
        }))
    }

    pub(super) fn state(&self) -> DeviceState {
        *self.0.state.borrow()
    }

    /// Reports each change of the state.
    pub(super) fn states(&self) -> watch::Receiver<DeviceState> {
        self.0.state.subscribe()
    }

    pub(super) fn events(&self) -> &EventBuffer {
        &self.0.events
    }

    /// The failure since which the device is not connected.
    pub(super) fn last_failure(&self) -> Option<Error> {
        self.status().last_failure.clone()
    }

    pub(super) fn disconnected(&self) {
        self.set(DeviceState::Disconnected);
    }

    pub(super) fn registering(&self) {
        debug!("registering with DPS to find the hub");
        self.set(DeviceState::Registering);
        self.emit(DeviceEvent::Registering);
    }

    pub(super) fn assigned(&self, assignment: &CachedAssignment) {
        info!(hub = %assignment.hub(), device_id = %assignment.device_id(), "the device is assigned to this hub");
        self.set(DeviceState::Disconnected);
        self.emit(DeviceEvent::Assigned(Box::new(assignment.clone())));
    }

    pub(super) fn connecting(&self, hub: &HubHostname) {
        debug!(%hub, "connecting to the hub");
        self.set(DeviceState::Connecting);
        self.emit(DeviceEvent::Connecting(hub.clone()));
    }

    pub(super) fn connected(&self, hub: &HubHostname) {
        info!(%hub, "connected to the hub");
        self.status().last_failure = None;
        self.set(DeviceState::Connected);
        self.emit(DeviceEvent::Connected(hub.clone()));
    }

    #[cfg(feature = "certificates")]
    pub(super) fn certificate(&self, event: CertificateEvent) {
        let time = |time: &SystemTime| Timestamp::from(*time);
        match &event {
            CertificateEvent::Renewing(place) => info!(?place, "renewing the certificate"),
            CertificateEvent::Issued(certificate) => {
                info!(valid_until = %time(&certificate.valid_until()), "a certificate was issued");
            }
            CertificateEvent::InUse { valid_until } => {
                info!(valid_until = %time(valid_until), "the hub accepted the new certificate");
            }
            CertificateEvent::Expired { valid_until } => {
                warn!(valid_until = %time(valid_until), "the certificate has expired");
            }
        }
        self.emit(DeviceEvent::Certificate(event));
    }

    /// A failure after which the device tries again.
    pub(super) fn retrying(&self, what: &'static str, error: &Error, retry_in: Duration) {
        self.set(DeviceState::Retrying);
        self.failed(what, error, Some(retry_in));
    }

    /// A failure that is returned to the caller and ends the connection.
    pub(super) fn gave_up(&self, what: &'static str, error: &Error) {
        self.set(DeviceState::Disconnected);
        self.failed(what, error, None);
    }

    /// A failure that leaves the connection as it is.
    pub(super) fn failed(&self, what: &'static str, error: &Error, retry_in: Option<Duration>) {
        match self.status().warning_is_due((what, error.kind())) {
            Some(repeated) => warn!(error = %Chain(error), ?retry_in, repeated, "{what}"),
            None => debug!(error = %Chain(error), ?retry_in, "{what}"),
        }
        self.status().last_failure = Some(error.clone());
        self.emit(DeviceEvent::Failed {
            error: error.clone(),
            retry_in,
        });
    }

    fn emit(&self, event: DeviceEvent) {
        self.0.events.push_state(event);
    }

    fn set(&self, state: DeviceState) {
        self.0.state.send_replace(state);
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
}
