//! The queues of a hub for back ends: feedback about cloud-to-device messages, and notifications of uploaded files.
//!
//! A back end receives a batch, which is locked for a minute, and completes or abandons it. Kept in memory only. Source:
//! azure-docs `iot-hub/iot-hub-devguide-messages-c2d.md`, `iot-hub-devguide-file-upload.md`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dps_types::{DeviceId, HubHostname, Timestamp};
use serde::Serialize;
use tokio::time::Instant;

/// The most items of a hub that wait. A new one replaces the oldest.
const MAX_ITEMS: usize = 1000;
/// The most items in a batch.
const MAX_BATCH: usize = 64;
/// The time for which a batch is locked: the default of a hub.
const LOCK: Duration = Duration::from_secs(60);
/// The time after which an item is dropped: the default of a hub.
const LIFETIME: i64 = 3600;

/// Feedback about a cloud-to-device message. As JSON it has the format of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MessageFeedback {
    /// The id of the message.
    pub original_message_id: String,
    /// The time of the outcome.
    pub enqueued_time_utc: Timestamp,
    /// The outcome.
    pub status_code: FeedbackStatus,
    /// The outcome as text.
    pub description: FeedbackStatus,
    /// The device.
    pub device_id: DeviceId,
    /// The generation of the device.
    pub device_generation_id: String,
}

/// The outcome of a cloud-to-device message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum FeedbackStatus {
    /// The device has completed the message.
    Success,
    /// The message expired before the device completed it.
    Expired,
    /// A back end emptied the queue of the device.
    Purged,
}

/// The items that wait for the back ends of each hub.
#[derive(Debug)]
pub(crate) struct ServiceQueue<T>(Mutex<HashMap<String, Hub<T>>>);

#[derive(Debug)]
struct Hub<T> {
    waiting: VecDeque<(Timestamp, T)>,
    locked: Option<Locked<T>>,
}

/// A batch that a back end has received.
#[derive(Debug)]
struct Locked<T> {
    token: String,
    until: Instant,
    items: Vec<(Timestamp, T)>,
}

impl<T> Default for ServiceQueue<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> ServiceQueue<T> {
    pub(super) fn push(&self, hub: &HubHostname, item: T, now: Timestamp) {
        self.with(hub, now, |hub| {
            if hub.waiting.len() == MAX_ITEMS {
                hub.waiting.pop_front();
                tracing::warn!(
                    "items for back ends were dropped, because no back end receives them"
                );
            }
            hub.waiting.push_back((now, item));
        });
    }

    /// Removes and returns all items that are not locked.
    pub(super) fn take(&self, hub: &HubHostname, now: Timestamp) -> Vec<T> {
        self.with(hub, now, |hub| {
            hub.waiting.drain(..).map(|(_, item)| item).collect()
        })
    }

    /// Locks a batch of at most `most` items. `None` if nothing waits, or another batch is locked.
    pub(crate) fn receive(
        &self,
        hub: &HubHostname,
        most: usize,
        now: Timestamp,
    ) -> Option<(String, Vec<T>)> {
        self.with(hub, now, |hub| {
            if hub.waiting.is_empty() || hub.locked.is_some() {
                return None;
            }
            let count = hub.waiting.len().min(most.min(MAX_BATCH));
            let items: Vec<_> = hub.waiting.drain(..count).collect();
            let batch = items.iter().map(|(_, item)| item.clone()).collect();
            let token = uuid::Uuid::new_v4().to_string();
            hub.locked = Some(Locked {
                token: token.clone(),
                until: Instant::now() + LOCK,
                items,
            });
            Some((token, batch))
        })
    }

    /// Removes the locked batch, or puts it back. False if the token is not that of the locked batch.
    pub(crate) fn settle(
        &self,
        hub: &HubHostname,
        token: &str,
        completed: bool,
        now: Timestamp,
    ) -> bool {
        self.with(hub, now, |hub| {
            let Some(locked) = hub.locked.take_if(|locked| locked.token == token) else {
                return false;
            };
            if !completed {
                hub.put_back(locked);
            }
            true
        })
    }

    /// Runs `work` after expired locks and items were removed.
    fn with<R>(&self, hub: &HubHostname, now: Timestamp, work: impl FnOnce(&mut Hub<T>) -> R) -> R {
        let mut hubs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hub = hubs.entry(hub.to_lowercase()).or_insert_with(|| Hub {
            waiting: VecDeque::new(),
            locked: None,
        });
        if let Some(over) = hub.locked.take_if(|it| it.until <= Instant::now()) {
            hub.put_back(over);
        }
        let oldest = now.unix_seconds().saturating_sub(LIFETIME);
        hub.waiting.retain(|(time, _)| time.unix_seconds() > oldest);
        work(hub)
    }
}

impl<T> Hub<T> {
    fn put_back(&mut self, locked: Locked<T>) {
        for item in locked.items.into_iter().rev() {
            self.waiting.push_front(item);
        }
        self.waiting.truncate(MAX_ITEMS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> HubHostname {
        "hub-a".parse().expect("a host name")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_batch_is_locked_until_it_is_settled() {
        let queue = ServiceQueue::default();
        let now = at("2022-08-31T22:02:50Z");
        for item in 1..=3 {
            queue.push(&hub(), item, now);
        }
        let (token, batch) = queue.receive(&hub(), 2, now).expect("a batch");
        assert_eq!(batch, [1, 2]);
        assert_eq!(queue.receive(&hub(), 2, now), None);
        assert!(!queue.settle(&hub(), "another", true, now));
        assert!(queue.settle(&hub(), &token, false, now), "abandoned");
        let (token, batch) = queue.receive(&hub(), 100, now).expect("a batch");
        assert_eq!(batch, [1, 2, 3]);
        assert!(queue.settle(&hub(), &token, true, now), "completed");
        assert!(!queue.settle(&hub(), &token, true, now));
        assert_eq!(queue.take(&hub(), now), [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_ends_after_a_minute() {
        let queue = ServiceQueue::default();
        let now = at("2022-08-31T22:02:50Z");
        queue.push(&hub(), 1, now);
        let (token, _) = queue.receive(&hub(), 1, now).expect("a batch");
        tokio::time::advance(LOCK).await;
        assert!(!queue.settle(&hub(), &token, true, now));
        assert!(queue.receive(&hub(), 1, now).is_some());
    }

    #[test]
    fn old_items_and_items_above_the_limit_are_dropped() {
        let queue = ServiceQueue::default();
        queue.push(&hub(), 0, at("2022-08-31T22:00:00Z"));
        let later = at("2022-08-31T23:00:00Z");
        assert_eq!(queue.receive(&hub(), 1, later), None);
        for item in 0..=MAX_ITEMS {
            queue.push(&hub(), item, later);
        }
        let left = queue.take(&hub(), later);
        assert_eq!((left.len(), left[0]), (MAX_ITEMS, 1));
    }

    #[test]
    fn feedback_has_the_format_of_the_service() {
        let feedback = MessageFeedback {
            original_message_id: "0987654321".to_owned(),
            enqueued_time_utc: at("2015-07-28T16:24:48.789Z"),
            status_code: FeedbackStatus::Success,
            description: FeedbackStatus::Success,
            device_id: "123".parse().expect("an id"),
            device_generation_id: "abcdefghijklmnopqrstuvwxyz".to_owned(),
        };
        assert_eq!(
            serde_json::to_value(&feedback).expect("JSON"),
            serde_json::json!({
                "originalMessageId": "0987654321",
                "enqueuedTimeUtc": "2015-07-28T16:24:48.789Z",
                "statusCode": "Success",
                "description": "Success",
                "deviceId": "123",
                "deviceGenerationId": "abcdefghijklmnopqrstuvwxyz",
            })
        );
    }
}
