//! The time and the place of a renewal, and the next step after a failure. This module does no I/O: the caller sends and waits.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use super::renewal_answer::{RenewalRefusal, RetryRule};
use crate::error::{Error, ErrorKind};

/// The place at which a device renews its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RenewalPlace {
    /// At its hub over MQTT, with the certificate that is in use. If the hub does not issue one, at DPS.
    #[default]
    Hub,
    /// At DPS, by a registration with the attestation that the device has for DPS.
    Dps,
}

/// The part of the lifetime after which a certificate is renewed.
const RENEW_AFTER: f64 = 0.8;
/// The random part of the time of a renewal, as a part of the lifetime: devices of one batch must not renew at once.
const SPREAD: f64 = 0.05;
/// After this number of failures in a row at the hub the device renews at DPS.
const MAX_FAILURES_AT_HUB: u32 = 8;
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// The first wait after a failure at DPS.
const FIRST_WAIT_AT_DPS: Duration = Duration::from_secs(60);

/// The time at which a certificate of this validity is renewed: at about 80 % of it. `draw` is a random number from 0 to 1.
pub(crate) fn due(from: SystemTime, until: SystemTime, draw: f64) -> SystemTime {
    let lifetime = until.duration_since(from).unwrap_or_default();
    let part = RENEW_AFTER - SPREAD + 2.0 * SPREAD * draw.clamp(0.0, 1.0);
    from + lifetime.mul_f64(part)
}

/// The next step of a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) after: Duration,
    pub(crate) action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send a request to the hub, and replace this one that is in progress.
    AskHub { replace: Option<String> },
    /// Register with DPS.
    Register,
}

/// One renewal, from the first attempt to its success.
#[derive(Debug)]
pub(crate) struct Renewal {
    place: RenewalPlace,
    failures: u32,
}

impl Renewal {
    pub(crate) fn new(place: RenewalPlace) -> Self {
        Self { place, failures: 0 }
    }

    pub(crate) fn first(&self) -> Step {
        self.step(Duration::ZERO, None)
    }

    /// The next step after a failure. `draw` is a random number from 0 to 1.
    pub(crate) fn after_failure(&mut self, error: &Error, draw: f64) -> Step {
        if self.place == RenewalPlace::Dps {
            let wait = self.wait_at_dps(error.retry_after(), draw);
            return self.step(wait, None);
        }
        self.failures += 1;
        let doublings = self.failures - 1;
        let wait = |first, doublings| wait(first, doublings, error.retry_after(), draw);
        let at_dps = if self.failures >= MAX_FAILURES_AT_HUB {
            RetryRule::AtDps
        } else {
            rule(error)
        };
        match at_dps {
            RetryRule::After(first) => self.step(wait(first, doublings), None),
            RetryRule::Replace(request) => self.step(wait(SHORT_WAIT, doublings), Some(request)),
            RetryRule::WithoutReplace => self.step(wait(SHORT_WAIT, doublings), None),
            RetryRule::AtDps => {
                self.place = RenewalPlace::Dps;
                self.failures = 0;
                self.step(error.retry_after().unwrap_or_default(), None)
            }
        }
    }

    /// The wait after a failure at DPS.
    pub(super) fn wait_at_dps(&mut self, retry_after: Option<Duration>, draw: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        wait(FIRST_WAIT_AT_DPS, self.failures - 1, retry_after, draw)
    }

    fn step(&self, after: Duration, replace: Option<String>) -> Step {
        let action = match self.place {
            RenewalPlace::Hub => Action::AskHub { replace },
            RenewalPlace::Dps => Action::Register,
        };
        Step { after, action }
    }
}

/// The first wait after this number of doublings, with a random part; at least the wait that the service asks for.
pub(super) fn wait(
    first: Duration,
    doublings: u32,
    retry_after: Option<Duration>,
    draw: f64,
) -> Duration {
    let factor = 2_u32.saturating_pow(doublings.min(16));
    let wait = first.saturating_mul(factor).min(LONGEST_WAIT);
    let wait = wait.mul_f64(0.8 + 0.4 * draw.clamp(0.0, 1.0));
    wait.max(retry_after.unwrap_or_default())
}

/// The wait before a request that the hub is expected to accept.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// The rule for a failure at the hub. A hub that does not answer may not support the request, or may be slow.
fn rule(error: &Error) -> RetryRule {
    let refusal = error
        .source()
        .and_then(|source| source.downcast_ref::<RenewalRefusal>());
    match refusal {
        Some(refusal) => refusal.rule(),
        None if error.kind() == ErrorKind::Deadline || error.kind().is_retried() => {
            RetryRule::After(Duration::from_secs(5))
        }
        // Nothing was requested, and DPS cannot help.
        None if error.kind() == ErrorKind::Store => RetryRule::After(FIRST_WAIT_AT_DPS),
        None => RetryRule::AtDps,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::renewal_answer::RenewalAnswer;
    use super::*;

    const DAY: Duration = Duration::from_secs(86400);

    fn refused(code: u32) -> Error {
        let body = format!(r#"{{"errorCode":{code}}}"#);
        let status = u16::try_from(code / 1000).unwrap();
        RenewalAnswer::read(status, body.as_bytes(), None).unwrap_err()
    }

    fn ask(replace: Option<&str>) -> Action {
        Action::AskHub {
            replace: replace.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn a_certificate_of_30_days_is_renewed_around_day_24() {
        let from = SystemTime::UNIX_EPOCH;
        let after = |draw| {
            due(from, from + 30 * DAY, draw)
                .duration_since(from)
                .unwrap()
        };
        assert_eq!(after(0.5).as_secs(), 24 * 86400);
        assert_eq!(after(0.0).as_secs(), 22 * 86400 + 43200);
        assert_eq!(after(1.0).as_secs(), 25 * 86400 + 43200);
        // A validity that ends before it starts is due at once.
        assert_eq!(due(from + DAY, from, 0.5), from + DAY);
    }

    #[test]
    fn the_waits_at_the_hub_start_with_those_of_the_code_and_double() {
        for (code, first) in [(429_002, 1), (429_003, 1), (503_001, 5), (500_001, 300)] {
            let mut renewal = Renewal::new(RenewalPlace::Hub);
            assert_eq!(renewal.first().action, ask(None));
            for number in 0..3 {
                let step = renewal.after_failure(&refused(code), 0.5);
                assert_eq!(step.action, ask(None));
                assert_eq!(step.after.as_secs_f64().round(), f64::from(first << number));
            }
        }
    }

    #[test]
    fn a_wait_of_the_hub_is_not_shortened() {
        let hub = Duration::from_secs(1000);
        let error = RenewalAnswer::read(429, b"{}", Some(hub)).unwrap_err();
        let step = Renewal::new(RenewalPlace::Hub).after_failure(&error, 0.0);
        assert_eq!(step.after, hub);
    }

    #[test]
    fn a_request_in_progress_is_replaced_and_one_that_has_ended_is_not() {
        let mut renewal = Renewal::new(RenewalPlace::Hub);
        let body = br#"{"errorCode":409005,"info":{"requestId":"a1b2"}}"#;
        let active = RenewalAnswer::read(409, body, None).unwrap_err();
        assert_eq!(
            renewal.after_failure(&active, 0.5).action,
            ask(Some("a1b2"))
        );
        assert_eq!(
            renewal.after_failure(&refused(409_004), 0.5).action,
            ask(Some("*"))
        );
        assert_eq!(
            renewal.after_failure(&refused(412_001), 0.5).action,
            ask(None)
        );
    }

    #[test]
    fn a_hub_that_does_not_issue_leads_to_dps() {
        let mut renewal = Renewal::new(RenewalPlace::Hub);
        let step = renewal.after_failure(&refused(400_040), 0.5);
        assert_eq!(
            (step.after, step.action),
            (Duration::ZERO, Action::Register)
        );
        let failed = Error::new(ErrorKind::Connect, "no connection");
        let step = renewal.after_failure(&failed, 0.5);
        assert_eq!((step.after.as_secs(), step.action), (60, Action::Register));

        let mut renewal = Renewal::new(RenewalPlace::Hub);
        let silent = Error::new(ErrorKind::Deadline, "no answer");
        let actions: Vec<_> = (0..8)
            .map(|_| renewal.after_failure(&silent, 0.5).action)
            .collect();
        assert_eq!(
            actions[..7],
            [const { Action::AskHub { replace: None } }; 7]
        );
        assert_eq!(actions[7], Action::Register);
    }

    #[test]
    fn a_certificate_that_does_not_fit_leads_to_dps() {
        let fault = super::super::CertificateFault::OtherKey.into();
        let step = Renewal::new(RenewalPlace::Hub).after_failure(&fault, 0.5);
        assert_eq!(step.action, Action::Register);
    }

    proptest! {
        #[test]
        fn a_renewal_is_due_within_the_validity(start in 0_u64..1 << 34, life in 1_u64..1 << 34, draw in 0.0..=1.0) {
            let from = SystemTime::UNIX_EPOCH + Duration::from_secs(start);
            let until = from + Duration::from_secs(life);
            let at = due(from, until, draw);
            prop_assert!(at > from && at < until);
        }

        #[test]
        fn a_wait_is_bounded(code in 400_000_u32..600_000, failures in 1..200, draw in 0.0..=1.0) {
            let mut renewal = Renewal::new(RenewalPlace::Hub);
            for _ in 0..failures {
                let step = renewal.after_failure(&refused(code), draw);
                prop_assert!(step.after <= LONGEST_WAIT.mul_f64(1.2));
            }
        }
    }
}
