//! The device-to-cloud messages of all hubs. The last ones of each device are kept in memory, within a limit of bytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dps_types::HubHostname;
use tokio::sync::watch;

use super::telemetry_message::TelemetryMessage;

/// The most bytes of all messages that are kept.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The messages that are kept, and the number of all messages.
#[derive(Debug)]
pub(super) struct TelemetryLog {
    kept: Mutex<Kept>,
    /// The number of the newest message.
    newest: watch::Sender<u64>,
    /// The most messages of one sender that are kept.
    per_sender: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Kept {
    messages: BTreeMap<u64, TelemetryMessage>,
    by_sender: HashMap<String, VecDeque<u64>>,
    bytes: usize,
    count: u64,
    by_hub: HashMap<String, u64>,
}

impl TelemetryLog {
    /// Keeps this number of messages of each device and module, and at least one.
    pub(super) fn new(per_sender: usize) -> Self {
        Self::with_max_bytes(per_sender, MAX_BYTES)
    }

    fn with_max_bytes(per_sender: usize, max_bytes: usize) -> Self {
        Self {
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
            per_sender: per_sender.max(1),
            max_bytes,
        }
    }

    /// Adds a message of the sender with this key, and numbers it.
    pub(super) fn add(&self, sender: String, message: impl FnOnce(u64, u64) -> TelemetryMessage) {
        let mut kept = self.kept();
        let number = kept.count + 1;
        let hub = sender.split('/').next().unwrap_or_default().to_owned();
        let at_hub = kept.by_hub.entry(hub).or_default();
        *at_hub += 1;
        let message = message(number, *at_hub);
        kept.count = number;
        kept.bytes += message.size();
        kept.messages.insert(number, message);
        let numbers = kept.by_sender.entry(sender).or_default();
        numbers.push_back(number);
        let oldest = (numbers.len() > self.per_sender).then(|| numbers.pop_front());
        if let Some(oldest) = oldest.flatten() {
            kept.forget(oldest);
        }
        while kept.bytes > self.max_bytes && kept.messages.len() > 1 {
            kept.forget_oldest();
        }
        drop(kept);
        self.newest.send_replace(number);
    }

    /// The messages of a sender that are kept, oldest first.
    pub(super) fn of(&self, sender: &str) -> Vec<TelemetryMessage> {
        let kept = self.kept();
        let numbers = kept.by_sender.get(sender).into_iter().flatten();
        let messages = numbers.filter_map(|number| kept.messages.get(number));
        messages.cloned().collect()
    }

    /// The first message after this number, of one hub or of all.
    pub(super) fn after(&self, number: u64, hub: Option<&HubHostname>) -> Option<TelemetryMessage> {
        let kept = self.kept();
        let later = kept.messages.range(number.saturating_add(1)..);
        let mut later = later.map(|(_, message)| message);
        later
            .find(|message| hub.is_none_or(|hub| message.hub() == hub))
            .cloned()
    }

    /// The numbers of the newest message of all, and of the newest message of this hub.
    pub(super) fn newest(&self, hub: Option<&HubHostname>) -> (u64, u64) {
        let kept = self.kept();
        let at_hub = match hub {
            Some(hub) => kept.by_hub.get(&hub.to_lowercase()).copied(),
            None => Some(kept.count),
        };
        (kept.count, at_hub.unwrap_or_default())
    }

    /// Reports each new number.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// No code panics while it holds this lock, so a poisoned lock still guards valid data.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self, number: u64) {
        if let Some(message) = self.messages.remove(&number) {
            self.bytes -= message.size();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((number, message)) = self.messages.pop_first() else {
            return;
        };
        self.bytes -= message.size();
        let sender = message.sender();
        if let Some(numbers) = self.by_sender.get_mut(&sender) {
            // The oldest of all is the oldest of its sender.
            if numbers.front() == Some(&number) {
                numbers.pop_front();
            }
            if numbers.is_empty() {
                self.by_sender.remove(&sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dps_types::protocol::hub_message::PropertyBag;

    use super::super::Identity;
    use super::super::telemetry_message::Received;
    use super::*;

    fn hub() -> HubHostname {
        "hub-a".parse().expect("a host name")
    }

    fn add(log: &TelemetryLog, sender: &str, body: &'static [u8]) {
        let identity = Identity::parse(&hub(), sender).expect("an identity");
        log.add(identity.key(), |number, at_hub| {
            let received = Received {
                identity: identity.clone(),
                body: body.into(),
                properties: PropertyBag::new(),
                stamps: Vec::new(),
                enqueued: "2022-08-31T22:02:50Z".parse().expect("a time"),
            };
            TelemetryMessage::new(received, number, at_hub)
        });
    }

    fn bodies(log: &TelemetryLog, sender: &str) -> Vec<Vec<u8>> {
        let identity = Identity::parse(&hub(), sender).expect("an identity");
        let kept = log.of(&identity.key()).into_iter();
        kept.map(|message| message.body().to_vec()).collect()
    }

    #[test]
    fn the_last_messages_of_each_sender_are_kept() {
        let log = TelemetryLog::new(2);
        for body in [b"1", b"2", b"3"] {
            add(&log, "dev-1", body);
        }
        add(&log, "dev-2", b"4");
        add(&log, "dev-1/mod-1", b"5");
        assert_eq!(bodies(&log, "dev-1"), [b"2", b"3"]);
        assert_eq!(bodies(&log, "dev-2"), [b"4"]);
        assert_eq!(bodies(&log, "dev-1/mod-1"), [b"5"]);
        assert_eq!(log.newest(Some(&hub())), (5, 5));
        let first = log.after(0, None).expect("kept");
        assert_eq!(first.sequence_number(), 2);
    }

    #[test]
    fn the_bytes_of_all_messages_are_limited() {
        let log = TelemetryLog::with_max_bytes(100, 2000);
        for _ in 0..100 {
            add(&log, "dev-1", &[b'x'; 500]);
        }
        add(&log, "dev-2", b"y");
        let kept = log.kept();
        assert!(kept.bytes <= 2000, "{}", kept.bytes);
        let bytes: usize = kept.messages.values().map(TelemetryMessage::size).sum();
        assert_eq!(kept.bytes, bytes);
        let listed: usize = kept.by_sender.values().map(VecDeque::len).sum();
        assert_eq!(listed, kept.messages.len());
        drop(kept);
        assert_eq!(bodies(&log, "dev-2"), [b"y"]);
    }

    #[test]
    fn the_newest_message_is_kept_even_if_it_exceeds_the_limit() {
        let log = TelemetryLog::with_max_bytes(1, 10);
        add(&log, "dev-1", &[b'x'; 500]);
        assert_eq!(bodies(&log, "dev-1").len(), 1);
        add(&log, "dev-2", b"y");
        assert!(bodies(&log, "dev-1").is_empty());
        assert_eq!(log.kept().by_sender.len(), 1);
    }
}
