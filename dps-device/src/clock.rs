//! What time it is outside: for the expiry of tokens, never for waits and deadlines.

use std::fmt;
use std::time::SystemTime;

/// A wall clock. A test may set its own; a device without a battery may know better than its system.
///
/// Waits and deadlines are measured on a clock that never jumps, whatever this one says.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
