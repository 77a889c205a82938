//! The queue of the messages that the hub has not acknowledged: the trait, and the queue in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

/// Keeps the messages of a device until its hub has acknowledged them: [`MemoryQueue`] or [`FileQueue`](crate::FileQueue).
///
/// The connection decides about order, limits and what to drop. A queue only stores bytes under numbers, which increase. A method
/// that takes longer than 30 seconds counts as failed.
#[async_trait]
pub trait MessageQueue: fmt::Debug + Send + Sync {
    /// The messages that an earlier run of the program left: their numbers in ascending order, and their lengths in bytes. Called
    /// once, before all other methods.
    ///
    /// # Errors
    /// If the queue cannot be read. The connection then accepts no message.
    async fn load(&self) -> io::Result<Vec<(u64, usize)>>;

    /// Stores a message. The number is higher than all numbers before.
    ///
    /// # Errors
    /// If the message is not stored. It counts as not accepted.
    async fn push(&self, number: u64, message: Vec<u8>) -> io::Result<()>;

    /// Reads a message. `None` if it is missing or damaged.
    ///
    /// # Errors
    /// If the queue cannot be read. The connection tries again after a reconnect.
    async fn get(&self, number: u64) -> io::Result<Option<Vec<u8>>>;

    /// Removes a message. If the removal is lost, for example when the power fails, the message is sent again.
    ///
    /// # Errors
    /// If the message may still be there.
    async fn remove(&self, number: u64) -> io::Result<()>;
}

/// A queue in memory, which a restart of the program empties.
#[derive(Default)]
pub struct MemoryQueue(Mutex<BTreeMap<u64, Vec<u8>>>);

impl MemoryQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    fn messages(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MessageQueue for MemoryQueue {
    async fn load(&self) -> io::Result<Vec<(u64, usize)>> {
        let messages = self.messages();
        Ok(messages
            .iter()
            .map(|(number, message)| (*number, message.len()))
            .collect())
    }

    async fn push(&self, number: u64, message: Vec<u8>) -> io::Result<()> {
        self.messages().insert(number, message);
        Ok(())
    }

    async fn get(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.messages().get(&number).cloned())
    }

    async fn remove(&self, number: u64) -> io::Result<()> {
        self.messages().remove(&number);
        Ok(())
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue")
            .field("messages", &self.messages().len())
            .finish()
    }
}

#[async_trait]
impl<Q: MessageQueue + ?Sized> MessageQueue for Arc<Q> {
    async fn load(&self) -> io::Result<Vec<(u64, usize)>> {
        (**self).load().await
    }

    async fn push(&self, number: u64, message: Vec<u8>) -> io::Result<()> {
        (**self).push(number, message).await
    }

    async fn get(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        (**self).get(number).await
    }

    async fn remove(&self, number: u64) -> io::Result<()> {
        (**self).remove(number).await
    }
}
