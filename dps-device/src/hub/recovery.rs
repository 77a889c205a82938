//! Recovery of a connection after a failure: the waits between attempts, and when the device looks for another hub.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::poll::draw;

/// The actions of a connection after a failure.
///
/// | Failure | What happens |
/// | --- | --- |
/// | The connection cannot be opened, is lost or is silent; the hub fails (5xx) or throttles (429) | The next attempt starts after a wait: 1 s, 2 s, 4 s, up to 60 s, each 20 % shorter or longer at random. The wait that a hub requests is never shortened. After a connection of one minute the waits start again with the first. |
/// | The hub is unreachable for 15 to 30 minutes, a random time | With [`IdentityRecovery::Reprovision`] the device asks DPS for its hub, and registers if DPS names the same hub. While DPS is unreachable as well, it stays with its hub. |
/// | The hub refuses the device: 401, 403, 404, or CONNACK 4 or 5 with each of its keys | [`IdentityRecovery`] decides. |
/// | The registration at DPS fails | The device tries again: with the stored assignment if there is one, and else with another registration. The wait between two registrations grows to about a minute. |
/// | The configuration is not valid, the policy of a key in a TPM does not allow its use, the transport cannot carry the proof, or the hub requires an unknown connection profile | The connection ends, since another attempt cannot help. |
///
/// In the meantime messages wait in their queue. Other requests wait until their timeout; if the failure is one that does not
/// pass by itself, such as a certificate that is not trusted, they fail at once with that failure.
///
/// Source of the numbers: azure-docs `iot-dps/concepts-deploy-at-scale.md`, and the policy of Microsoft's device SDKs.
///
/// ```
/// use std::time::Duration;
///
/// use dps_device::{ConnectOptions, IdentityRecovery, Recovery};
///
/// let recovery = Recovery::new()
///     .with_waits(Duration::from_secs(5), Duration::from_secs(300))
///     .with_identity(IdentityRecovery::RetryHub);
/// let options = ConnectOptions::new().with_recovery(recovery);
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
pub struct Recovery {
    pub(super) first_wait: Duration,
    pub(super) last_wait: Duration,
    pub(super) identity: IdentityRecovery,
    pub(super) max_refusals: Option<u32>,
    pub(super) outage_timeout: RangeInclusive<Duration>,
}

/// The action of a connection if the hub refuses the device: the device was removed or disabled there, or has another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum IdentityRecovery {
    /// Registers with DPS again and connects to the hub that DPS returns. A connection without DPS behaves as
    /// with [`RetryHub`](Self::RetryHub).
    #[default]
    Reprovision,
    /// Tries the same hub again.
    RetryHub,
    /// Ends the connection with the error.
    Never,
}

impl Recovery {
    /// The default range of [`with_outage_timeout`](Self::with_outage_timeout).
    pub const DEFAULT_OUTAGE_TIMEOUT: RangeInclusive<Duration> =
        Duration::from_secs(15 * 60)..=Duration::from_secs(30 * 60);

    /// The default policy, which the table describes.
    pub fn new() -> Self {
        Self {
            first_wait: Duration::from_secs(1),
            last_wait: Duration::from_secs(60),
            identity: IdentityRecovery::default(),
            max_refusals: None,
            outage_timeout: Self::DEFAULT_OUTAGE_TIMEOUT,
        }
    }

    /// Sets the first and the longest wait between two attempts to connect, at least 10 ms each.
    #[must_use]
    pub fn with_waits(mut self, first: Duration, last: Duration) -> Self {
        self.first_wait = first.max(MIN_WAIT);
        self.last_wait = last.max(self.first_wait);
        self
    }

    /// Sets what happens if the hub refuses the device.
    #[must_use]
    pub fn with_identity(mut self, identity: IdentityRecovery) -> Self {
        self.identity = identity;
        self
    }

    /// Ends the connection with this refusal in a row, of the hub or of DPS: 1, which is the least, ends it with the first one.
    /// Without a limit, the device tries again once a minute at most.
    #[must_use]
    pub fn with_max_refusals(mut self, refusals: u32) -> Self {
        self.max_refusals = Some(refusals.max(1));
        self
    }

    /// Sets how long the device retries a hub that is unreachable before it asks DPS: a random time in this range.
    #[must_use]
    pub fn with_outage_timeout(mut self, range: RangeInclusive<Duration>) -> Self {
        self.outage_timeout = range;
        self
    }

    pub(super) fn outage_limit(&self) -> Duration {
        let (least, most) = (*self.outage_timeout.start(), *self.outage_timeout.end());
        least.saturating_add(most.saturating_sub(least).mul_f64(draw()))
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self::new()
    }
}

/// Prevents a busy loop of failures.
const MIN_WAIT: Duration = Duration::from_millis(10);
/// How much longer or shorter than its step a wait may be.
const SPREAD: f64 = 0.2;

/// The waits between attempts to connect.
#[derive(Debug)]
pub(super) struct ConnectBackoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl ConnectBackoff {
    pub(super) fn new(recovery: &Recovery) -> Self {
        Self {
            first: recovery.first_wait,
            last: recovery.last_wait,
            next: recovery.first_wait,
        }
    }

    /// The next wait, which is longer than the one before.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = spread(self.next, draw());
        self.next = self.next.saturating_mul(2).min(self.last);
        wait
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// The step times 0.8 to 1.2; `draw` is from 0 to 1.
fn spread(step: Duration, draw: f64) -> Duration {
    step.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * draw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_waits_double_from_one_second_to_a_minute() {
        let mut backoff = ConnectBackoff::new(&Recovery::new());
        for step in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = backoff.wait().as_secs_f64();
            let step = f64::from(step);
            assert!(
                wait >= 0.799 * step && wait <= 1.201 * step,
                "{wait}, {step}"
            );
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(1200));
    }

    #[test]
    fn a_wait_is_never_zero() {
        let recovery = Recovery::new().with_waits(Duration::ZERO, Duration::ZERO);
        assert!(ConnectBackoff::new(&recovery).wait() >= Duration::from_millis(8));
    }

    proptest! {
        #[test]
        fn the_outage_timeout_is_in_the_range(least in 0..u64::MAX, more in 0..u64::MAX) {
            let (least, more) = (Duration::from_secs(least), Duration::from_secs(more));
            let most = least.saturating_add(more);
            let limit = Recovery::new().with_outage_timeout(least..=most).outage_limit();
            prop_assert!(limit >= least);
            prop_assert!(spread(least.min(Duration::from_secs(60)), 1.0) <= Duration::from_secs(72));
        }
    }
}
