//! The wait before the next request: `Retry-After`, the minimum interval, and a random part of the backoff.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::ErrorKind;

/// The default of the shortest wait between two requests.
///
/// DPS allows five requests in ten seconds for each device. Source: azure-docs `includes/iot-dps-limits.md`.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_secs(2);

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(60);
/// Prevents a busy loop of failures when the interval is set to zero.
const LEAST_BACKOFF: Duration = Duration::from_millis(10);

/// The waits of a device between its requests, as [`ProvisioningClient`](crate::ProvisioningClient) computes them. For simulations
/// and for clients of other services that wait in the same way.
///
/// A wait is at least the service's `Retry-After` and the minimum interval. A random part follows, up to a backoff that doubles with
/// every failure in a row, from one second to a minute. After a request that was refused because there were too many, it grows
/// eightfold, and the random part is at least as long as `Retry-After`, up to a minute: the devices of a fleet receive the same
/// `Retry-After`, and must not all return at the same time.
///
/// ```
/// use std::time::Duration;
/// use dps_device::{Pace, ProvisioningClient};
///
/// let mut pace = Pace::new(ProvisioningClient::DEFAULT_MIN_POLL_INTERVAL);
/// pace.failed();
/// let wait = pace.wait(Some(Duration::from_secs(5)), 0.5, Duration::from_secs(60));
/// assert_eq!(wait, Some(Duration::from_secs(6)));
/// ```
#[derive(Debug, Clone)]
pub struct Pace {
    min_interval: Duration,
    backoff: Duration,
    /// The last request was refused because there were too many.
    is_throttled: bool,
}

impl Pace {
    /// The pace of a device that has not failed. The interval is the shortest wait.
    pub fn new(min_interval: Duration) -> Self {
        Self {
            min_interval,
            backoff: Self::first(min_interval),
            is_throttled: false,
        }
    }

    /// Resets the backoff.
    pub fn succeeded(&mut self) {
        self.backoff = Self::first(self.min_interval);
        self.is_throttled = false;
    }

    /// Doubles the backoff.
    pub fn failed(&mut self) {
        self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
        self.is_throttled = false;
    }

    /// Lengthens the backoff after a failure of this kind.
    pub(crate) fn failed_as(&mut self, kind: ErrorKind) {
        match kind {
            ErrorKind::Throttled => self.throttled(),
            _ => self.failed(),
        }
    }

    /// Lengthens the backoff after a request that was refused because there were too many.
    pub fn throttled(&mut self) {
        self.backoff = (self.backoff * 8).min(LAST_BACKOFF);
        self.is_throttled = true;
    }

    /// The wait: `retry_after` or the interval, whichever is longer, plus the fraction `draw` (0 to 1) of the backoff; after a request
    /// that was refused because there were too many, of `retry_after` if that is longer than the backoff, up to a minute. `None` when
    /// no time would remain for a request.
    pub fn wait(
        &self,
        retry_after: Option<Duration>,
        draw: f64,
        remaining: Duration,
    ) -> Option<Duration> {
        let floor = retry_after.unwrap_or_default().max(self.min_interval);
        let spare = remaining
            .checked_sub(floor)
            .filter(|spare| !spare.is_zero())?;
        let spread = match retry_after.filter(|_| self.is_throttled) {
            Some(asked) => self.backoff.max(asked.min(LAST_BACKOFF)),
            None => self.backoff,
        };
        let draw = match draw.is_nan() {
            true => 0.0,
            false => draw.clamp(0.0, 1.0),
        };
        Some(floor + spread.min(spare).mul_f64(draw))
    }

    fn first(min_interval: Duration) -> Duration {
        (min_interval / 2).clamp(LEAST_BACKOFF, FIRST_BACKOFF)
    }
}

/// The source of the random part of a client's waits.
#[derive(Clone)]
pub(crate) struct Draws(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Draws {
    pub(crate) fn new(draw: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(draw))
    }

    pub(crate) fn next(&self) -> f64 {
        (self.0)()
    }
}

impl Default for Draws {
    fn default() -> Self {
        Self::new(draw)
    }
}

impl fmt::Debug for Draws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draws").finish_non_exhaustive()
    }
}

/// A random number from 0 to 1. Without random numbers the devices of a fleet poll at the same time, which is not an error.
pub(crate) fn draw() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

/// The time `limit` from now on a monotonic clock. A limit that is too long to represent means 30 years.
pub(crate) fn after(limit: Duration) -> Instant {
    const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now + THIRTY_YEARS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn two_to_three_seconds_without_retry_after() {
        let pace = Pace::new(MIN_INTERVAL);
        assert_eq!(pace.wait(None, 0.0, HOUR), Some(seconds(2)));
        assert_eq!(pace.wait(None, 1.0, HOUR), Some(seconds(3)));
        for (other, expected) in [(-1.0, 2), (2.0, 3), (f64::NAN, 2)] {
            assert_eq!(pace.wait(None, other, HOUR), Some(seconds(expected)));
        }
    }

    #[test]
    fn the_backoff_doubles_up_to_a_minute_and_a_success_resets_it() {
        let mut pace = Pace::new(MIN_INTERVAL);
        let longest = |pace: &Pace| pace.wait(None, 1.0, HOUR);
        for expected in [2, 4, 8, 16, 32, 60, 60] {
            pace.failed();
            assert_eq!(longest(&pace), Some(seconds(2 + expected)));
        }
        pace.succeeded();
        assert_eq!(longest(&pace), Some(seconds(3)));
    }

    /// The devices of a fleet are refused at the same time and are asked for the same wait.
    #[test]
    fn throttled_devices_return_over_as_long_a_time_as_they_were_asked_to_wait() {
        let mut pace = Pace::new(MIN_INTERVAL);
        let longest = |pace: &Pace, asked| pace.wait(Some(seconds(asked)), 1.0, HOUR);
        pace.throttled();
        assert_eq!(longest(&pace, 5), Some(seconds(5 + 8)));
        assert_eq!(longest(&pace, 45), Some(seconds(45 + 45)));
        assert_eq!(longest(&pace, 600), Some(seconds(600 + 60)));
        assert_eq!(pace.wait(Some(seconds(45)), 0.0, HOUR), Some(seconds(45)));
        pace.throttled();
        assert_eq!(longest(&pace, 5), Some(seconds(5 + 60)));
        pace.succeeded();
        assert_eq!(longest(&pace, 45), Some(seconds(46)));
        pace.failed();
        assert_eq!(longest(&pace, 45), Some(seconds(47)));
    }

    #[test]
    fn an_interval_of_zero_still_backs_off() {
        let mut pace = Pace::new(Duration::ZERO);
        for _ in 0..20 {
            pace.failed();
        }
        assert_eq!(pace.wait(None, 1.0, HOUR), Some(seconds(60)));
    }

    proptest! {
        #[test]
        fn the_wait_is_never_shorter_than_asked_nor_past_the_deadline(
            asked in proptest::option::of(0..u64::MAX / 2),
            draw in 0.0..=1.0_f64,
            remaining in 0..1_000_000_u64,
            failures in 0..80,
        ) {
            let mut pace = Pace::new(MIN_INTERVAL);
            (0..failures).for_each(|_| pace.failed());
            let floor = seconds(asked.unwrap_or(0)).max(MIN_INTERVAL);
            match pace.wait(asked.map(seconds), draw, seconds(remaining)) {
                Some(wait) => {
                    prop_assert!(wait >= floor);
                    prop_assert!(wait <= seconds(remaining));
                    prop_assert!(wait <= floor + LAST_BACKOFF);
                }
                None => prop_assert!(floor >= seconds(remaining)),
            }
        }
    }
}
