//! Records the requests of devices and operators to DPS with their answers, so that another emulator can answer them again.

mod compare;
mod exchange;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dps_types::Timestamp;

use crate::replica::{Bus, Message};

pub(crate) use compare::differences;
pub(crate) use exchange::{Attestation, RecordedExchange};

/// The most bytes of a recording, as JSON.
const LIMIT: usize = 32 * 1024 * 1024;

/// Records exchanges while it is asked to.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    is_on: AtomicBool,
    recording: Mutex<Recording>,
    /// Sends the exchanges to other emulators that share the store.
    bus: Option<Bus>,
}

/// The exchanges that were recorded. They may hold keys, so `Debug` does not show them.
#[derive(Default, Clone)]
pub(crate) struct Recording {
    /// `None` if nothing was ever recorded.
    pub(crate) started: Option<Timestamp>,
    pub(crate) has_keys: bool,
    /// Each with its time, as JSON, so that the size of all is known.
    pub(crate) exchanges: Vec<(Timestamp, String)>,
    /// The number of exchanges that came when the recording was full.
    pub(crate) dropped: u64,
    bytes: usize,
}

impl Recorder {
    /// A recorder that is off, and that sends what it records to other emulators.
    pub(crate) fn new(bus: Option<Bus>) -> Self {
        Self {
            bus,
            ..Self::default()
        }
    }

    /// Starts a new recording, with or without keys, and forgets the last one.
    pub(crate) fn start(&self, now: Timestamp, has_keys: bool) {
        *self.recording() = Recording {
            started: Some(now),
            has_keys,
            ..Recording::default()
        };
        self.is_on.store(true, Ordering::Release);
    }

    /// Stops, and keeps what was recorded.
    pub(crate) fn stop(&self) {
        self.is_on.store(false, Ordering::Release);
    }

    /// Stops, and forgets what was recorded.
    pub(crate) fn clear(&self) {
        self.stop();
        *self.recording() = Recording::default();
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// When the recording started, and whether it has keys.
    pub(crate) fn head(&self) -> (Option<Timestamp>, bool) {
        let recording = self.recording();
        (recording.started, recording.has_keys)
    }

    /// What was recorded, in order of time.
    pub(crate) fn read(&self) -> Recording {
        let mut recording = self.recording().clone();
        recording.exchanges.sort_by_key(|(time, _)| *time);
        recording
    }

    /// Adds an exchange if the recorder is on.
    pub(crate) fn add(&self, exchange: impl FnOnce() -> RecordedExchange) {
        if !self.is_on() {
            return;
        }
        let exchange = exchange();
        let exchange = match self.recording().has_keys {
            true => exchange,
            false => exchange.masked(),
        };
        let time = exchange.time;
        let Ok(exchange) = serde_json::to_string(&exchange) else {
            self.recording().dropped += 1;
            return;
        };
        if let Some(bus) = &self.bus {
            let exchange = exchange.clone();
            bus.send(Message::Recorded { time, exchange });
        }
        self.append(time, exchange);
    }

    /// Adds an exchange of this emulator or of another one if the recorder is on.
    pub(crate) fn append(&self, time: Timestamp, exchange: String) {
        if !self.is_on() {
            return;
        }
        let mut recording = self.recording();
        if recording.bytes + exchange.len() <= LIMIT {
            recording.bytes += exchange.len();
            recording.exchanges.push((time, exchange));
        } else {
            recording.dropped += 1;
        }
    }

    fn recording(&self) -> MutexGuard<'_, Recording> {
        self.recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording")
            .field("exchanges", &self.exchanges.len())
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(size: usize) -> RecordedExchange {
        let body = format!("\"{}\"", "x".repeat(size));
        let now = std::time::UNIX_EPOCH.into();
        RecordedExchange::new(now, "HTTPS", "PUT", "/enrollments/a").asked(body.as_bytes())
    }

    #[test]
    fn a_recorder_that_is_off_records_nothing() {
        let recorder = Recorder::default();
        recorder.add(|| unreachable!("not asked for"));
        recorder.start(std::time::UNIX_EPOCH.into(), false);
        recorder.add(|| exchange(1));
        recorder.stop();
        recorder.add(|| unreachable!("not asked for"));
        assert_eq!(recorder.read().exchanges.len(), 1);
        recorder.clear();
        assert!(recorder.read().started.is_none());
    }

    #[test]
    fn a_recording_has_a_limit_and_counts_the_rest() {
        let recorder = Recorder::default();
        recorder.start(std::time::UNIX_EPOCH.into(), false);
        for _ in 0..3 {
            recorder.add(|| exchange(LIMIT / 2 - 1000));
        }
        recorder.add(|| exchange(1));
        let recording = recorder.read();
        assert_eq!((recording.exchanges.len(), recording.dropped), (3, 1));
        assert!(recording.bytes <= LIMIT);
    }
}
