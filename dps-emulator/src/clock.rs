//! What time it is, for the emulator and for tests that move it.

use std::time::SystemTime;

/// Tells the time. Tokens and certificates are judged by it.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::exhaustive_structs)] // There is nothing to choose.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
