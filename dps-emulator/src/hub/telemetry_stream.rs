//! Reads the device-to-cloud messages as they arrive, and reports those that the reader missed.

use std::sync::Arc;

use dps_types::HubHostname;
use tokio::sync::watch;

use super::{Hubs, TelemetryMessage};

/// The device-to-cloud messages of one hub or of all, from the time at which the stream was made.
///
/// The stream has no buffer of its own: it reads the messages that the emulator keeps. A reader that is slower than the devices
/// misses messages that are no longer kept, and receives their number.
///
/// ```no_run
/// # async fn example(dps: &dps_emulator::Emulator) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_emulator::Telemetry;
///
/// let mut telemetry = dps.hub("toasters").ok_or("the hub is not linked")?.telemetry_stream();
/// while let Some(item) = telemetry.next().await {
///     match item {
///         Telemetry::Message(message) => println!("{}", String::from_utf8_lossy(message.body())),
///         Telemetry::Missed(number) => println!("{number} messages were missed"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TelemetryStream {
    hubs: Arc<Hubs>,
    hub: Option<HubHostname>,
    /// The number of the last message that was read, among those of all hubs.
    read: u64,
    /// The number of the next message, among those of the stream.
    next: u64,
    newest: watch::Receiver<u64>,
}

/// An item of a [`TelemetryStream`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Telemetry {
    /// The next message.
    Message(TelemetryMessage),
    /// This number of messages arrived and are no longer kept. The stream continues after them.
    Missed(u64),
}

impl TelemetryStream {
    pub(crate) fn new(hubs: Arc<Hubs>, hub: Option<HubHostname>) -> Self {
        let newest = hubs.telemetry.watch();
        let (read, last) = hubs.telemetry.newest(hub.as_ref());
        Self {
            hubs,
            hub,
            read,
            next: last + 1,
            newest,
        }
    }

    /// Waits for the next item. `None` after the emulator has stopped and everything was read. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Telemetry> {
        let stop = self.hubs.stop.clone();
        loop {
            let stopped = stop.is_cancelled();
            self.newest.mark_unchanged();
            if let Some(item) = self.try_next() {
                return Some(item);
            }
            if stopped {
                return None;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                changed = self.newest.changed() => changed.ok()?,
            }
        }
    }

    /// The next item if it has arrived.
    pub fn try_next(&mut self) -> Option<Telemetry> {
        let message = self.hubs.telemetry.after(self.read, self.hub.as_ref())?;
        let number = match &self.hub {
            Some(_) => message.sequence_number(),
            None => message.number(),
        };
        let missed = number.saturating_sub(self.next);
        self.next = number;
        if missed > 0 {
            return Some(Telemetry::Missed(missed));
        }
        self.next += 1;
        self.read = message.number();
        Some(Telemetry::Message(message))
    }
}
