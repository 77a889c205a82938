//! The messages that were accepted and not yet acknowledged: their order, the limits, and the callers that wait for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot};
use tracing::warn;

use super::message::Message;
use super::monitor::Chain;
use super::queue::MessageQueue;
use super::resolve::in_time;
use crate::error::{Error, ErrorKind};

/// The treatment of a message that does not fit into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The call waits until the message fits.
    #[default]
    Wait,
    /// The oldest message that is not being sent is dropped. Its [`Delivery`](crate::Delivery) fails.
    DropOldest,
    /// The new message is dropped: the call fails.
    DropNewest,
}

/// The limits of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) overflow: Overflow,
}

pub(super) type Outcome = oneshot::Receiver<Result<(), Error>>;

pub(super) struct Outbox {
    queue: Arc<dyn MessageQueue>,
    limits: Limits,
    state: Mutex<State>,
    /// Held while a message is accepted, so that the order in the queue is that of the calls. `None` before the queue was loaded.
    next_number: AsyncMutex<Option<u64>>,
    /// A message was accepted, or sent messages have to be sent again.
    pub(super) changed: Notify,
    space_freed: Notify,
}

#[derive(Default)]
struct State {
    /// In order.
    entries: VecDeque<Entry>,
    bytes: usize,
    closed: Option<Error>,
}

struct Entry {
    number: u64,
    length: usize,
    /// It was sent over the current link.
    sent: bool,
    done: Option<oneshot::Sender<Result<(), Error>>>,
}

enum Space {
    Free,
    /// This message was dropped.
    Made(u64),
    None,
}

impl Outbox {
    pub(super) fn new(queue: Arc<dyn MessageQueue>, limits: Limits) -> Self {
        Self {
            queue,
            limits,
            state: Mutex::default(),
            next_number: AsyncMutex::default(),
            changed: Notify::new(),
            space_freed: Notify::new(),
        }
    }

    /// Loads the messages of an earlier run, once.
    ///
    /// # Errors
    /// `Queue` if the queue cannot be read.
    pub(super) async fn load(&self) -> Result<(), Error> {
        let mut next_number = self.next_number.lock().await;
        self.load_once(&mut next_number).await.map(drop)
    }

    /// Accepts a message: it is in the queue when this returns.
    pub(super) async fn accept(&self, message: &Message) -> Result<Outcome, Error> {
        let message = message.encode()?;
        let length = message.len();
        if length > self.limits.bytes {
            let what = format!(
                "the message has {length} bytes; the maximum of the queue is {}",
                self.limits.bytes
            );
            return Err(Error::new(ErrorKind::Rejected, what));
        }
        let mut next_number = self.next_number.lock().await;
        let number = self.load_once(&mut next_number).await?;
        self.make_space(length).await?;
        *next_number = Some(number + 1);
        in_time(self.queue.push(number, message))
            .await
            .map_err(|error| {
                Error::new(
                    ErrorKind::Queue,
                    "the message cannot be stored in the queue",
                )
                .with_source(error)
            })?;
        let (done, outcome) = oneshot::channel();
        {
            let mut state = self.state();
            if let Some(reason) = &state.closed {
                return Err(reason.clone());
            }
            state.add(number, length, Some(done));
        }
        self.changed.notify_one();
        Ok(outcome)
    }

    /// Waits for a message that was not yet sent over the current link.
    pub(super) async fn ready(&self) {
        while !self.state().entries.iter().any(|entry| !entry.sent) {
            self.changed.notified().await;
        }
    }

    /// The next message to send, in order. It counts as sent from now on.
    ///
    /// # Errors
    /// `Queue` if the queue cannot be read.
    pub(super) async fn next(&self) -> Result<Option<(u64, Message)>, Error> {
        loop {
            let number = {
                let mut state = self.state();
                let entry = state.entries.iter_mut().find(|entry| !entry.sent);
                let Some(entry) = entry else { return Ok(None) };
                entry.sent = true;
                entry.number
            };
            let unreadable = || Error::new(ErrorKind::Queue, "the message queue cannot be read");
            let stored = in_time(self.queue.get(number))
                .await
                .map_err(|error| unreadable().with_source(error))?;
            match stored.as_deref().and_then(Message::decode) {
                Some(message) => return Ok(Some((number, message))),
                None => {
                    warn!(number, "a message in the queue is damaged and dropped");
                    self.finish(number, Err(unreadable())).await;
                }
            }
        }
    }

    /// The hub has acknowledged this message.
    pub(super) async fn acknowledged(&self, number: u64) {
        self.finish(number, Ok(())).await;
    }

    /// The link is lost: messages that were not acknowledged are sent again, in order.
    pub(super) fn rewind(&self) {
        let mut state = self.state();
        state
            .entries
            .iter_mut()
            .for_each(|entry| entry.sent = false);
    }

    pub(super) fn len(&self) -> usize {
        self.state().entries.len()
    }

    /// Accepts no further message, and fails the accepted ones with this error. The messages stay in the queue.
    pub(super) fn close(&self, reason: &Error) {
        let mut state = self.state();
        state.closed.get_or_insert_with(|| reason.clone());
        for entry in &mut state.entries {
            if let Some(done) = entry.done.take() {
                let _ = done.send(Err(reason.clone()));
            }
        }
        drop(state);
        self.space_freed.notify_one();
    }

    /// Accepts no further message.
    pub(super) fn stop_accepting(&self, reason: &Error) {
        self.state().closed.get_or_insert_with(|| reason.clone());
        self.space_freed.notify_one();
    }

    async fn load_once(&self, next_number: &mut Option<u64>) -> Result<u64, Error> {
        if let Some(number) = *next_number {
            return Ok(number);
        }
        let left = in_time(self.queue.load()).await.map_err(|error| {
            Error::new(ErrorKind::Queue, "the message queue cannot be loaded").with_source(error)
        })?;
        let number = left
            .last()
            .map_or(1, |(number, _)| number.saturating_add(1));
        {
            let mut state = self.state();
            for (number, length) in left {
                state.add(number, length, None);
            }
        }
        *next_number = Some(number);
        self.changed.notify_one();
        Ok(number)
    }

    async fn make_space(&self, length: usize) -> Result<(), Error> {
        loop {
            match self.space_for(length)? {
                Space::Free => return Ok(()),
                Space::Made(number) => self.forget(number).await,
                Space::None => self.space_freed.notified().await,
            }
        }
    }

    fn space_for(&self, length: usize) -> Result<Space, Error> {
        let full = || Error::new(ErrorKind::Queue, "the message queue is full");
        let mut state = self.state();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        let Limits {
            messages, bytes, ..
        } = self.limits;
        if state.entries.len() < messages && state.bytes.saturating_add(length) <= bytes {
            return Ok(Space::Free);
        }
        match self.limits.overflow {
            Overflow::Wait => Ok(Space::None),
            Overflow::DropNewest => Err(full()),
            Overflow::DropOldest => {
                let Some(oldest) = state.entries.iter().position(|entry| !entry.sent) else {
                    return Ok(Space::None);
                };
                let Some(entry) = state.take(oldest) else {
                    return Ok(Space::None);
                };
                let dropped = full().with_note("the message was dropped for a newer one");
                if let Some(done) = entry.done {
                    let _ = done.send(Err(dropped));
                }
                Ok(Space::Made(entry.number))
            }
        }
    }

    async fn finish(&self, number: u64, outcome: Result<(), Error>) {
        let done = {
            let mut state = self.state();
            let position = state
                .entries
                .iter()
                .position(|entry| entry.number == number);
            position.and_then(|position| state.take(position)?.done)
        };
        self.forget(number).await;
        if let Some(done) = done {
            let _ = done.send(outcome);
        }
        self.space_freed.notify_one();
    }

    async fn forget(&self, number: u64) {
        if let Err(error) = in_time(self.queue.remove(number)).await {
            warn!(number, error = %Chain(&error), "a message cannot be removed from the queue: it may be sent again");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(
        &mut self,
        number: u64,
        length: usize,
        done: Option<oneshot::Sender<Result<(), Error>>>,
    ) {
        self.bytes = self.bytes.saturating_add(length);
        self.entries.push_back(Entry {
            number,
            length,
            sent: false,
            done,
        });
    }

    fn take(&mut self, position: usize) -> Option<Entry> {
        let entry = self.entries.remove(position)?;
        self.bytes = self.bytes.saturating_sub(entry.length);
        Some(entry)
    }
}
