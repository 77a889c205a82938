//! Records the requests of devices and operators to DPS with their answers, so that another emulator can answer them again.

mod compare;
mod exchange;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dps_types::Timestamp;

pub(crate) use compare::differences;
pub(crate) use exchange::{Attestation, RecordedExchange};

/// The most bytes of a recording, as JSON.
const LIMIT: usize = 32 * 1024 * 1024;

/// Records exchanges while it is asked to.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    is_on: AtomicBool,
    recording: Mutex<Recording>,
}

/// The exchanges that were recorded. They may hold keys, so `Debug` does not show them.
#[derive(Default, Clone)]
pub(crate) struct Recording {
    /// `None` if nothing was ever recorded.
    pub(crate) started: Option<Timestamp>,
    pub(crate) has_keys: bool,
    /// Each as JSON, so that the size of all is known.
    pub(crate) exchanges: Vec<String>,
    /// The number of exchanges that came when the recording was full.
    pub(crate) dropped: u64,
    bytes: usize,
}

impl Recorder {
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

    pub(crate) fn read(&self) -> Recording {
        self.recording().clone()
    }

    /// Adds an exchange if the recorder is on.
    pub(crate) fn add(&self, exchange: impl FnOnce() -> RecordedExchange) {
        if !self.is_on() {
            return;
        }
        let exchange = exchange();
        let mut recording = self.recording();
        let exchange = match recording.has_keys {
            true => exchange,
            false => exchange.masked(),
        };
        match serde_json::to_string(&exchange) {
            Ok(text) if recording.bytes + text.len() <= LIMIT => {
                recording.bytes += text.len();
                recording.exchanges.push(text);
            }
            _ => recording.dropped += 1,
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
