//! Sends messages to the other replicas, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::message::{Envelope, Message};
use crate::state::store::Store;

/// The number of messages that may wait for the database.
const CAPACITY: usize = 4096;
/// The longest time for one message.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The number of attempts for one message: a minute at least.
const ATTEMPTS: u32 = 300;
/// The pause before a message is sent again.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest time for the queued messages when the emulator stops.
const LEAVE: Duration = Duration::from_secs(2);

/// The queue of messages to the other replicas.
#[derive(Debug, Clone)]
pub(crate) struct Bus {
    id: Arc<str>,
    queue: mpsc::Sender<Message>,
    /// Whether a message found the queue full.
    has_lost: Arc<AtomicBool>,
}

/// The messages that are to be sent.
#[derive(Debug)]
pub(crate) struct Outbox {
    id: Arc<str>,
    queue: mpsc::Receiver<Message>,
    has_lost: Arc<AtomicBool>,
}

impl Bus {
    pub(crate) fn new(id: Arc<str>) -> (Self, Outbox) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let has_lost = Arc::new(AtomicBool::new(false));
        let outbox = Outbox {
            id: Arc::clone(&id),
            queue: receiver,
            has_lost: Arc::clone(&has_lost),
        };
        let queue = sender;
        (
            Self {
                id,
                queue,
                has_lost,
            },
            outbox,
        )
    }

    /// The replica id of this emulator.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Queues a message. If the queue is full, the others are informed later that messages were lost.
    pub(crate) fn send(&self, message: Message) {
        // A recording may have gaps; devices need not connect again for it.
        if let Err(refused) = self.queue.try_send(message)
            && !matches!(refused.into_inner(), Message::Recorded { .. })
        {
            self.has_lost.store(true, Ordering::SeqCst);
        }
    }
}

impl Outbox {
    /// Sends messages until the emulator stops, and then those that wait. A message that cannot be sent is sent again.
    pub(crate) async fn send(mut self, store: Arc<dyn Store>, stop: CancellationToken) {
        let sending = async {
            while let Some(message) = self.next(&stop).await {
                self.deliver(&*store, message).await;
                if self.has_lost.swap(false, Ordering::SeqCst) {
                    self.deliver(&*store, Message::Lost).await;
                }
            }
        };
        let late = async {
            stop.cancelled().await;
            sleep(LEAVE).await;
        };
        tokio::select! {
            () = late => {}
            () = sending => {}
        }
    }

    /// The next message. `None` if the emulator stops and no message waits.
    async fn next(&mut self, stop: &CancellationToken) -> Option<Message> {
        tokio::select! {
            biased;
            message = self.queue.recv() => message,
            () = stop.cancelled() => None,
        }
    }

    async fn deliver(&self, store: &dyn Store, message: Message) {
        let from = self.id.to_string();
        let text = match serde_json::to_string(&Envelope { from, message }) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "a message to the other replicas cannot be written");
                return;
            }
        };
        for _ in 0..ATTEMPTS {
            match timeout(TIMEOUT, store.notify(&text)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the other replicas cannot be reached; trying again");
                }
                Err(_) => {
                    tracing::warn!("the other replicas cannot be reached in time; trying again");
                }
            }
            sleep(PAUSE).await;
        }
        // It must not delay the messages after it forever.
        tracing::error!("a message to the other replicas was given up");
        self.has_lost.store(true, Ordering::SeqCst);
    }
}
