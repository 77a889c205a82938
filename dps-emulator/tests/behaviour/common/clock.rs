//! A clock that a test sets.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dps_emulator::Clock;

#[derive(Clone, Debug)]
pub(crate) struct TestClock(Arc<Mutex<SystemTime>>);

impl TestClock {
    /// Stands at this moment.
    pub(crate) fn now() -> Self {
        Self(Arc::new(Mutex::new(SystemTime::now())))
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().expect("not poisoned") += by;
    }

    pub(crate) fn unix(&self) -> u64 {
        let since = Clock::now(self).duration_since(SystemTime::UNIX_EPOCH);
        since.expect("after 1970").as_secs()
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().expect("not poisoned")
    }
}
