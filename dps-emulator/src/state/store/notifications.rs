//! Messages between the emulators that share a database.

use std::fmt;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// The number of messages that may wait for a receiver.
const CAPACITY: usize = 4096;

/// The sender of the messages that a [`Store`](super::Store) receives from its database. For implementors of a store.
///
/// ```
/// use dps_emulator::store::{Notification, Notifier};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let notifier = Notifier::new();
/// let mut received = notifier.subscribe();
/// notifier.send("a message");
/// assert_eq!(received.next().await, Some(Notification::Message("a message".into())));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Notifier(broadcast::Sender<Notification>);

/// The messages of one receiver. A receiver that does not read for a long time misses messages, and receives
/// [`Notification::Missed`] instead.
#[derive(Debug)]
pub struct Notifications(broadcast::Receiver<Notification>);

/// A message from an emulator that shares the database.
///
/// `Debug` shows the size of the message instead of its text, because a recorded exchange may contain device keys.
#[allow(clippy::exhaustive_enums)] // every receiver must handle both
#[derive(Clone, PartialEq, Eq)]
pub enum Notification {
    /// A message.
    Message(Arc<str>),
    /// Messages may have been lost, for example because the connection to the database was interrupted.
    Missed,
}

impl Notifier {
    /// A sender without receivers.
    pub fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    /// Passes a message to every receiver.
    pub fn send(&self, message: impl Into<Arc<str>>) {
        self.pass(Notification::Message(message.into()));
    }

    /// Informs every receiver that messages may have been lost.
    pub fn missed(&self) {
        self.pass(Notification::Missed);
    }

    /// A receiver of the messages from now on.
    pub fn subscribe(&self) -> Notifications {
        Notifications(self.0.subscribe())
    }

    /// Fails only if there is no receiver, which is not an error.
    fn pass(&self, notification: Notification) {
        let _ = self.0.send(notification);
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(text) => write!(f, "Message({} bytes)", text.len()),
            Self::Missed => f.write_str("Missed"),
        }
    }
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Notifications {
    /// Waits for the next message. `None` if the store was closed. Dropping the future loses no message.
    pub async fn next(&mut self) -> Option<Notification> {
        match self.0.recv().await {
            Ok(notification) => Some(notification),
            Err(RecvError::Lagged(_)) => Some(Notification::Missed),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receiver_that_is_too_slow_is_informed_that_it_missed_messages() {
        let notifier = Notifier::new();
        let mut received = notifier.subscribe();
        for number in 0..=CAPACITY {
            notifier.send(number.to_string());
        }
        assert_eq!(received.next().await, Some(Notification::Missed));
        assert_eq!(
            received.next().await,
            Some(Notification::Message("1".into()))
        );
        drop(notifier);
        for _ in 2..=CAPACITY {
            received.next().await.expect("a message");
        }
        assert_eq!(received.next().await, None);
    }
}
