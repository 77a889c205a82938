//! Rate limits, counted in fixed windows. Only the counts of the current window are stored.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use dps_types::{ErrorCode, HubHostname, RegistrationId};

use super::{HubAction, Limits};
use crate::service_error::ServiceError;

/// Counts requests and refuses those that exceed a rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    operations: Rate,
    registrations: Rate,
    polls: Rate,
    certificates: Rate,
    /// In the order of [`HubAction::ALL`].
    hubs: [Rate; HubAction::ALL.len()],
}

impl Throttle {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            operations: Rate::new(limits.operations_per_minute, 60),
            registrations: Rate::new(limits.registrations_per_minute, 60),
            polls: Rate::new(limits.polls_per_10_seconds, 10),
            certificates: Rate::new(limits.certificates_per_day, 24 * 60 * 60),
            hubs: HubAction::ALL.map(|action| {
                let most = *limits.hub_rates.clone().of(action);
                Rate::new(most, action.seconds())
            }),
        }
    }

    /// Counts a request of a service client.
    pub(crate) fn operation(&self, now: SystemTime) -> Result<(), ServiceError> {
        self.operations.admit("", now)
    }

    /// Counts a registration or a lookup. The service counts both alike.
    pub(crate) fn registration(&self, now: SystemTime) -> Result<(), ServiceError> {
        self.registrations.admit("", now)
    }

    /// Counts a poll of this device.
    pub(crate) fn poll(&self, device: &str, now: SystemTime) -> Result<(), ServiceError> {
        self.polls.admit(device, now)
    }

    /// Counts a certificate for the device with this registration id. Source: azure-docs, limits of Azure Device Registry.
    pub(crate) fn certificate(
        &self,
        registration_id: &RegistrationId,
        now: SystemTime,
    ) -> Result<(), ServiceError> {
        self.certificates
            .admit(&registration_id.to_lowercase(), now)
    }

    /// Counts an operation at this hub.
    pub(crate) fn hub(
        &self,
        action: HubAction,
        hub: &HubHostname,
        now: SystemTime,
    ) -> Result<(), ServiceError> {
        let mut all = HubAction::ALL.iter();
        let index = all.position(|it| *it == action).unwrap_or_default();
        self.hubs[index].admit(&hub.to_lowercase(), now)
    }
}

/// A number of requests in a number of seconds, per client.
#[derive(Debug)]
struct Rate {
    /// `None` disables the limit.
    most: Option<u64>,
    seconds: u64,
    window: Mutex<Window>,
}

/// The requests per client in the current window.
#[derive(Debug, Default)]
struct Window {
    number: u64,
    asked: HashMap<String, u64>,
}

impl Rate {
    fn new(most: Option<u64>, seconds: u64) -> Self {
        Self {
            most,
            seconds,
            window: Mutex::default(),
        }
    }

    fn admit(&self, who: &str, now: SystemTime) -> Result<(), ServiceError> {
        let Some(most) = self.most else {
            return Ok(());
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let number = now / self.seconds;
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.number != number {
            window.number = number;
            window.asked.clear();
        }
        let asked = window.asked.entry(who.to_owned()).or_default();
        if *asked < most {
            *asked += 1;
            return Ok(());
        }
        let words = "Operations are being throttled for this tenant.";
        let wait = self.seconds - now % self.seconds;
        Err(ServiceError::new(ErrorCode::THROTTLED, words).with_retry_after(wait))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn each_client_has_its_own_count_in_each_window() {
        let rate = Rate::new(Some(2), 10);
        for now in [100, 109] {
            assert_eq!(rate.admit("one", at(now)), Ok(()));
        }
        let refusal = rate.admit("one", at(103)).unwrap_err();
        assert_eq!(refusal.code().get(), 429_001);
        assert_eq!(
            refusal.message(),
            "Operations are being throttled for this tenant."
        );
        assert_eq!(refusal.retry_after_seconds, Some(7));
        assert_eq!(rate.admit("other", at(103)), Ok(()));
        assert_eq!(rate.admit("one", at(110)), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_starts_a_new_window() {
        let rate = Rate::new(Some(1), 60);
        assert_eq!(rate.admit("", at(600)), Ok(()));
        assert_eq!(rate.admit("", at(60)), Ok(()));
    }

    #[test]
    fn only_the_counts_of_the_current_window_are_stored() {
        let rate = Rate::new(Some(1), 10);
        for device in 0..1000 {
            let _ = rate.admit(&device.to_string(), at(100));
        }
        let _ = rate.admit("late", at(110));
        assert_eq!(rate.window.lock().unwrap().asked.len(), 1);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let rate = Rate::new(None, 10);
        for _ in 0..10_000 {
            assert_eq!(rate.admit("one", at(100)), Ok(()));
        }
        assert!(rate.window.lock().unwrap().asked.is_empty());
    }
}
