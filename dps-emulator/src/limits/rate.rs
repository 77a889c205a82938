//! A number of requests in a number of seconds, counted in fixed windows. Only the counts of the current window are kept: in
//! memory, or in the store that several emulators share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use dps_types::ErrorCode;

use crate::service_error::ServiceError;
use crate::state::store::{Expected, Pages, Store, Table};

/// The number of attempts to count a request if other emulators count at the same time.
const ATTEMPTS: usize = 100;

/// A number of requests in a number of seconds, per client.
#[derive(Debug)]
pub(super) struct Rate {
    /// The name in the store.
    name: &'static str,
    /// `None` disables the limit.
    most: Option<u64>,
    seconds: u64,
    counts: Counts,
}

#[derive(Debug)]
enum Counts {
    Memory(Mutex<Window>),
    Shared(Arc<dyn Store>),
}

/// The requests per client in the current window.
#[derive(Debug, Default)]
struct Window {
    number: u64,
    asked: HashMap<String, u64>,
}

impl Rate {
    pub(super) fn new(
        name: &'static str,
        most: Option<u64>,
        seconds: u64,
        shared: Option<Arc<dyn Store>>,
    ) -> Self {
        let memory = || Counts::Memory(Mutex::default());
        Self {
            name,
            most,
            seconds,
            counts: shared.map_or_else(memory, Counts::Shared),
        }
    }

    /// Counts a request of a client, and refuses it if the client has as many as it may have.
    pub(super) async fn admit(&self, who: &str, now: SystemTime) -> Result<(), ServiceError> {
        let Some(most) = self.most else {
            return Ok(());
        };
        let now = seconds(now);
        let number = now / self.seconds;
        let is_admitted = match &self.counts {
            Counts::Memory(window) => admit_in_memory(window, who, number, most),
            Counts::Shared(store) => self.admit_in_store(&**store, who, number, most).await?,
        };
        if is_admitted {
            return Ok(());
        }
        let message = "Operations are being throttled for this tenant.";
        let wait = self.seconds - now % self.seconds;
        Err(ServiceError::new(ErrorCode::THROTTLED, message).with_retry_after(wait))
    }

    async fn admit_in_store(
        &self,
        store: &dyn Store,
        who: &str,
        number: u64,
        most: u64,
    ) -> Result<bool, ServiceError> {
        let key = format!("{}/{who}", self.name);
        for _ in 0..ATTEMPTS {
            let stored = store.get(Table::Rates, &key).await?;
            let asked = stored.as_deref().and_then(read);
            let asked = asked.filter(|(window, _)| *window == number);
            let asked = asked.map_or(0, |(_, asked)| asked);
            if asked >= most {
                return Ok(false);
            }
            let expected = Expected::unchanged(stored.as_deref());
            let counted = format!("{number} {}", asked + 1).into_bytes();
            if store.put(Table::Rates, &key, expected, counted).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the counts of ended windows from the store.
    pub(super) async fn sweep(&self, now: SystemTime) -> Result<(), ServiceError> {
        let Counts::Shared(store) = &self.counts else {
            return Ok(());
        };
        let number = seconds(now) / self.seconds;
        let prefix = format!("{}/", self.name);
        let mut pages = Pages::with_prefix(&**store, Table::Rates, &prefix);
        while let Some(page) = pages.next().await? {
            for (key, counted) in page {
                let has_ended = read(&counted).is_none_or(|(window, _)| window < number);
                if has_ended {
                    let expected = Expected::Exactly(&counted);
                    store.delete(Table::Rates, &key, expected).await?;
                }
            }
        }
        Ok(())
    }
}

fn admit_in_memory(window: &Mutex<Window>, who: &str, number: u64, most: u64) -> bool {
    let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
    if window.number != number {
        window.number = number;
        window.asked.clear();
    }
    let asked = window.asked.entry(who.to_owned()).or_default();
    let is_admitted = *asked < most;
    *asked += u64::from(is_admitted);
    is_admitted
}

/// `{number of the window} {requests}`
fn read(stored: &[u8]) -> Option<(u64, u64)> {
    let (window, asked) = std::str::from_utf8(stored).ok()?.split_once(' ')?;
    Some((window.parse().ok()?, asked.parse().ok()?))
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::store::MemoryStore;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A rate in memory, and one in a store.
    fn both(most: Option<u64>, seconds: u64) -> [Rate; 2] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        [None, Some(store)].map(|shared| Rate::new("test", most, seconds, shared))
    }

    #[tokio::test]
    async fn each_client_has_its_own_count_in_each_window() {
        for rate in both(Some(2), 10) {
            for now in [100, 109] {
                assert_eq!(rate.admit("one", at(now)).await, Ok(()));
            }
            let refusal = rate.admit("one", at(103)).await.unwrap_err();
            assert_eq!(refusal.code().get(), 429_001);
            assert_eq!(
                refusal.message(),
                "Operations are being throttled for this tenant."
            );
            assert_eq!(refusal.retry_after_seconds, Some(7));
            assert_eq!(rate.admit("other", at(103)).await, Ok(()));
            assert_eq!(rate.admit("one", at(110)).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn a_clock_that_goes_back_starts_a_new_window() {
        for rate in both(Some(1), 60) {
            assert_eq!(rate.admit("", at(600)).await, Ok(()));
            assert_eq!(rate.admit("", at(60)).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn only_the_counts_of_the_current_window_are_kept() {
        for rate in both(Some(1), 10) {
            for device in 0..1000 {
                let _ = rate.admit(&device.to_string(), at(100)).await;
            }
            let _ = rate.admit("late", at(110)).await;
            rate.sweep(at(110)).await.expect("swept");
            let kept = match &rate.counts {
                Counts::Memory(window) => window.lock().unwrap().asked.len(),
                Counts::Shared(store) => store.count(Table::Rates).await.expect("counted") as usize,
            };
            assert_eq!(kept, 1);
        }
    }

    #[tokio::test]
    async fn without_a_limit_nothing_is_counted() {
        for rate in both(None, 10) {
            for _ in 0..10_000 {
                assert_eq!(rate.admit("one", at(100)).await, Ok(()));
            }
            match &rate.counts {
                Counts::Memory(window) => assert!(window.lock().unwrap().asked.is_empty()),
                Counts::Shared(store) => assert_eq!(store.count(Table::Rates).await.unwrap(), 0),
            }
        }
    }
}
