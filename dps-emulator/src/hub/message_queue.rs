//! The queue of cloud-to-device messages of each device. It is in the store, so that a restart keeps it.
//!
//! A message leaves the queue when the device has acknowledged it, when it expires, and when a back end empties the queue.

use dps_types::{ErrorCode, HubHostname};

use super::connections::ToDevice;
use super::feedback::{FeedbackStatus, MessageFeedback};
use super::outgoing_message::{CloudToDeviceMessage, QueuedMessage};
use super::{Hubs, Identity};
use crate::service_error::ServiceError;
use crate::state::store::{Change, Expected, Pages, Table};
use crate::state::{decode_or_skip, encode};

/// The number of attempts to queue a message if other replicas queue messages at the same time.
const ATTEMPTS: usize = 20;
/// The key of the number of the latest message of all devices. Numbers are not used again, so that a late acknowledgement does not
/// complete another message.
const LAST_SEQUENCE: &str = "hub-message-sequence";

/// 403004, IoT Hub's `DeviceMaximumQueueDepthExceeded`.
const QUEUE_FULL: ErrorCode = ErrorCode::new(403_004);

impl Hubs {
    /// Adds a message to the queue of a device, and informs the device if it is connected.
    pub(crate) async fn queue(
        &self,
        identity: &Identity,
        message: &CloudToDeviceMessage,
    ) -> Result<(), ServiceError> {
        let (device, _) = self.required(identity).await?;
        let limit = self.limits.hub_queued_messages;
        let _order = self.queue_lock.lock().await;
        for _ in 0..ATTEMPTS {
            let waiting = self.waiting(identity).await?;
            if waiting.len() as u64 >= limit {
                return Err(ServiceError::new(
                    QUEUE_FULL,
                    format!("Total number of messages on queue exceeds the maximum of {limit}"),
                ));
            }
            let stored = self.store.get(Table::Meta, LAST_SEQUENCE).await?;
            let sequence = next_sequence(stored.as_deref(), &waiting);
            let to = format!("/devices/{}/messages/devicebound", identity.device_id);
            let generation_id = device.generation_id.clone();
            let queued = message.queued(to, generation_id, sequence, self.clock.now())?;
            let key = message_key(identity, sequence);
            let last = Expected::unchanged(stored.as_deref());
            let number = sequence.to_string().into_bytes();
            let changes = [
                Change::put(Table::Meta, LAST_SEQUENCE, last, number),
                Change::put(Table::HubMessages, &key, Expected::Absent, encode(&queued)?),
            ];
            if self.store.apply(&changes).await? {
                tracing::info!(device = %identity, id = queued.message_id(), bytes = queued.body.len(), "queued a cloud-to-device message");
                self.send(&identity.key(), ToDevice::MessageQueued);
                return Ok(());
            }
        }
        Err(ServiceError::conflict())
    }

    /// The next message after this number for the device, if there is one.
    pub(crate) async fn next_message(
        &self,
        identity: &Identity,
        after: u64,
    ) -> Result<Option<QueuedMessage>, ServiceError> {
        let waiting = self.waiting(identity).await?;
        Ok(waiting.into_iter().find(|it| it.sequence > after))
    }

    /// The device has acknowledged the message.
    pub(crate) async fn complete(
        &self,
        identity: &Identity,
        sequence: u64,
    ) -> Result<(), ServiceError> {
        self.finish(identity, sequence, FeedbackStatus::Success)
            .await
    }

    /// Empties the queue. Returns the number of messages that were in it.
    pub(crate) async fn purge(&self, identity: &Identity) -> Result<usize, ServiceError> {
        self.required(identity).await?;
        let waiting = self.waiting(identity).await?;
        for message in &waiting {
            self.finish(identity, message.sequence, FeedbackStatus::Purged)
                .await?;
        }
        Ok(waiting.len())
    }

    /// The messages that wait for the device, in order. Expired ones are removed.
    pub(crate) async fn waiting(
        &self,
        identity: &Identity,
    ) -> Result<Vec<QueuedMessage>, ServiceError> {
        let generation_id = self.device(identity).await?;
        let generation_id = generation_id.map(|(device, _)| device.generation_id);
        let now = self.now();
        let mut waiting = Vec::new();
        for (key, message) in self.messages(&format!("{}/", identity.key())).await? {
            if generation_id.as_ref() != Some(&message.generation_id) {
                self.discard(&key).await?;
            } else if message.expires <= now {
                self.finish(identity, message.sequence, FeedbackStatus::Expired)
                    .await?;
            } else {
                waiting.push(message);
            }
        }
        Ok(waiting)
    }

    /// Removes the expired messages of a hub, so that there is feedback about them.
    pub(crate) async fn expire(&self, hub: &HubHostname) -> Result<(), ServiceError> {
        let now = self.now();
        let messages = self.messages(&format!("{}/", hub.to_lowercase())).await?;
        for (key, message) in messages {
            let device = key.split('/').nth(1).unwrap_or_default();
            if message.expires <= now
                && let Ok(identity) = Identity::parse(hub, device)
            {
                self.waiting(&identity).await?;
            }
        }
        Ok(())
    }

    /// Removes all messages of a device without feedback.
    pub(super) async fn forget_messages(&self, identity: &Identity) -> Result<(), ServiceError> {
        for (key, _) in self.messages(&format!("{}/", identity.key())).await? {
            self.discard(&key).await?;
        }
        Ok(())
    }

    /// Removes a message if it is still there, and adds the feedback that its sender requested.
    async fn finish(
        &self,
        identity: &Identity,
        sequence: u64,
        status: FeedbackStatus,
    ) -> Result<(), ServiceError> {
        let key = message_key(identity, sequence);
        let Some(bytes) = self.store.get(Table::HubMessages, &key).await? else {
            return Ok(());
        };
        // A message has one outcome.
        let expected = Expected::Exactly(&bytes);
        if !self
            .store
            .delete(Table::HubMessages, &key, expected)
            .await?
        {
            return Ok(());
        }
        let Some(message) = decode_or_skip::<QueuedMessage>(&key, &bytes) else {
            return Ok(());
        };
        let id = message.message_id();
        tracing::info!(device = %identity, id, outcome = ?status, "a cloud-to-device message left the queue");
        if message
            .acknowledgement
            .requests(status == FeedbackStatus::Success)
        {
            let feedback = MessageFeedback {
                original_message_id: id,
                enqueued_time_utc: self.now(),
                status_code: status,
                description: status,
                device_id: identity.device_id.clone(),
                device_generation_id: message.generation_id,
            };
            self.feedback.push(&identity.hub, feedback, self.now());
        }
        Ok(())
    }

    async fn discard(&self, key: &str) -> Result<(), ServiceError> {
        self.store
            .delete(Table::HubMessages, key, Expected::Anything)
            .await?;
        Ok(())
    }

    /// The stored messages whose keys begin with this prefix.
    async fn messages(&self, prefix: &str) -> Result<Vec<(String, QueuedMessage)>, ServiceError> {
        let stored = Pages::with_prefix(&*self.store, Table::HubMessages, prefix).collect();
        let messages = stored.await?.into_iter().filter_map(|(key, bytes)| {
            let message = decode_or_skip::<QueuedMessage>(&key, &bytes)?;
            Some((key, message))
        });
        Ok(messages.collect())
    }
}

/// The number after the latest one. A store of an earlier version has messages and no latest number.
fn next_sequence(stored: Option<&[u8]>, waiting: &[QueuedMessage]) -> u64 {
    let stored = stored.and_then(|stored| std::str::from_utf8(stored).ok());
    let last = stored.and_then(|stored| stored.parse().ok()).unwrap_or(0);
    let last_waiting = waiting.last().map_or(0, |message| message.sequence);
    last_waiting.max(last).saturating_add(1)
}

/// The key of a message. Keys of a device sort by the sequence number, which has 20 digits.
fn message_key(identity: &Identity, sequence: u64) -> String {
    format!("{}/{sequence:020}", identity.key())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_message_is_not_used_again_when_the_queue_is_empty() {
        assert_eq!(next_sequence(None, &[]), 1);
        assert_eq!(next_sequence(Some(b"7"), &[]), 8);
        assert_eq!(next_sequence(Some(b"damaged"), &[]), 1);
    }
}
