//! The program's replies: acknowledgements of messages, and responses to methods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// The connection that a message or a method arrived over. A reply over another one has no effect.
pub(super) type LinkId = u64;

#[derive(Debug)]
pub(super) enum Reply {
    Acknowledge {
        link: LinkId,
        packet_id: u16,
    },
    Respond {
        link: LinkId,
        rid: String,
        status: i32,
        payload: Vec<u8>,
    },
}

/// The channel to the driver. There is at most one reply for each message and method, so that it needs no bound.
#[derive(Debug, Clone)]
pub(super) struct Replies {
    sender: mpsc::UnboundedSender<Reply>,
    waiting: Arc<AtomicUsize>,
}

pub(super) struct ReplyReceiver {
    receiver: mpsc::UnboundedReceiver<Reply>,
    waiting: Arc<AtomicUsize>,
}

pub(super) fn replies() -> (Replies, ReplyReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::<AtomicUsize>::default();
    let replies = Replies {
        sender,
        waiting: Arc::clone(&waiting),
    };
    (replies, ReplyReceiver { receiver, waiting })
}

impl Replies {
    /// Returns false if the connection has ended.
    pub(super) fn send(&self, reply: Reply) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.send(reply).is_ok()
    }

    /// True if a reply was not yet passed to the hub.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl ReplyReceiver {
    /// The next reply. Call [`done`](Self::done) when it was sent.
    pub(super) async fn next(&mut self) -> Reply {
        match self.receiver.recv().await {
            Some(reply) => reply,
            None => std::future::pending().await,
        }
    }

    /// The next reply if there is one.
    pub(super) fn try_next(&mut self) -> Option<Reply> {
        self.receiver.try_recv().ok()
    }

    pub(super) fn done(&self) {
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                count.checked_sub(1)
            });
    }
}
