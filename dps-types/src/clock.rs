//! The wall clock: for the expiry of tokens and certificates, never for timeouts.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// A wall clock. A test may set its own, and a device without a battery may have a better one than its system's.
///
/// Timeouts are measured on a monotonic clock, not on this one.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use dps_types::Clock;
///
/// /// Tomorrow, to test a token or a certificate that expires.
/// #[derive(Debug)]
/// struct Tomorrow;
///
/// impl Clock for Tomorrow {
///     fn now(&self) -> SystemTime {
///         SystemTime::now() + Duration::from_secs(86400)
///     }
/// }
/// ```
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for Box<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::exhaustive_structs)] // There is nothing to configure.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_and_boxed_clocks_are_clocks() {
        fn is_set(clock: impl Clock) -> bool {
            clock.now() > SystemTime::UNIX_EPOCH
        }
        let shared: Arc<dyn Clock> = Arc::new(SystemClock);
        let boxed: Box<dyn Clock> = Box::new(SystemClock);
        let borrowed: &dyn Clock = &SystemClock;
        assert!(is_set(borrowed) && is_set(shared) && is_set(boxed));
    }
}
