//! Where the registry keeps its records: tables of bytes with compare-and-set, behind a trait so that any database can serve.

mod closed;
mod held;
mod memory;
mod open;
mod redb;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use async_trait::async_trait;

pub use self::memory::MemoryStore;
pub use self::redb::RedbStore;

/// A database the registry can live in.
///
/// Everything the registry needs is here: read a key, change some keys at once if they still hold what the caller
/// read, and walk a table in key order. [`MemoryStore`] and [`RedbStore`] ship with the crate.
///
/// # For implementors
///
/// - A change is acknowledged (`Ok(true)`) only once it is as durable as the database makes it.
/// - Calls are linearizable: a read that starts after an acknowledged change sees it.
/// - Dropping the future of [`apply`](Self::apply) may or may not apply the changes, but never some of them.
/// - Keys are any string, the empty one included. They sort by their UTF-8 bytes, as `str` does.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Reads one value.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies all changes at once if every condition holds; otherwise changes nothing and returns `Ok(false)`.
    ///
    /// All conditions are about the state before the call, also when two changes name the same key. The actions then
    /// run in order, so the last one on a key wins. No changes at all is `Ok(true)`.
    ///
    /// # Errors
    ///
    /// When the database cannot be written. Whether the changes were made is then unknown, as after any lost reply.
    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError>;

    /// Reads the keys that follow `after` (itself excluded; `None` starts at the first key), in key order, at most
    /// `limit` of them. The cost does not depend on where in the table the page lies.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Counts the keys of a table: here by walking it, in the stores of this crate at a cost that does not depend on how
    /// many there are.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    async fn count(&self, table: Table) -> Result<u64, StoreError> {
        const PAGE: usize = 1000;
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.scan(table, after.as_deref(), PAGE).await?;
            count += page.len() as u64;
            if page.len() < PAGE {
                return Ok(count);
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }

    /// Writes one value if the condition holds; `Ok(false)` if it does not.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    async fn put(
        &self,
        table: Table,
        key: &str,
        expected: Expected<'_>,
        value: Vec<u8>,
    ) -> Result<bool, StoreError> {
        self.apply(&[Change::put(table, key, expected, value)])
            .await
    }

    /// Removes one key if the condition holds; `Ok(false)` if it does not. Removing an absent key is no error.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    async fn delete(
        &self,
        table: Table,
        key: &str,
        expected: Expected<'_>,
    ) -> Result<bool, StoreError> {
        self.apply(&[Change::delete(table, key, expected)]).await
    }
}

/// The tables of the registry.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Individual enrollments, by registration ID.
    Individuals,
    /// Enrollment groups, by group ID.
    Groups,
    /// Device registration states, by registration ID.
    Registrations,
    /// Which devices registered through a group, by group ID and registration ID.
    Members,
    /// Registration operations in progress, by operation ID.
    Operations,
    /// Which enrollment has which certificate, by the kind of its use and thumbprint.
    Thumbprints,
    /// The CA certificates of the instance, by name.
    CaCertificates,
    /// The devices of the linked IoT hubs with their twins, by hub and device ID.
    Hubs,
    /// What the registry notes about itself.
    Meta,
}

impl Table {
    /// The table's name in the database. It never changes, as stored data depends on it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Individuals => "individuals",
            Self::Groups => "groups",
            Self::Registrations => "registrations",
            Self::Members => "members",
            Self::Operations => "operations",
            Self::Thumbprints => "thumbprints",
            Self::CaCertificates => "ca-certificates",
            Self::Hubs => "hubs",
            Self::Meta => "meta",
        }
    }
}

/// One key's part in [`Store::apply`]: a condition, and what to do when all conditions hold.
///
/// `Debug` shows sizes in place of values, as values may hold device keys.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: &'a str,
    /// What the key must hold now.
    pub expected: Expected<'a>,
    /// What becomes of it.
    pub action: Action,
}

impl<'a> Change<'a> {
    /// Writes `value`.
    pub const fn put(table: Table, key: &'a str, expected: Expected<'a>, value: Vec<u8>) -> Self {
        Self {
            table,
            key,
            expected,
            action: Action::Put(value),
        }
    }

    /// Removes the key.
    pub const fn delete(table: Table, key: &'a str, expected: Expected<'a>) -> Self {
        Self {
            table,
            key,
            expected,
            action: Action::Delete,
        }
    }

    /// Changes nothing: only makes the other changes depend on this key.
    pub const fn check(table: Table, key: &'a str, expected: Expected<'a>) -> Self {
        Self {
            table,
            key,
            expected,
            action: Action::Keep,
        }
    }
}

/// The condition of a [`Change`] on the key's current value.
#[allow(clippy::exhaustive_enums)] // every store must honour every condition
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expected<'a> {
    /// No condition.
    Anything,
    /// The key must be absent.
    Absent,
    /// The key must hold exactly these bytes.
    Exactly(&'a [u8]),
}

impl Expected<'_> {
    /// Whether the condition holds for the current value.
    pub fn holds(&self, current: Option<&[u8]>) -> bool {
        match self {
            Self::Anything => true,
            Self::Absent => current.is_none(),
            Self::Exactly(value) => current == Some(*value),
        }
    }
}

impl fmt::Debug for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("Anything"),
            Self::Absent => f.write_str("Absent"),
            Self::Exactly(value) => write!(f, "Exactly({} bytes)", value.len()),
        }
    }
}

/// What a [`Change`] does to its key.
#[allow(clippy::exhaustive_enums)] // every store must perform every action
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this value.
    Put(Vec<u8>),
    /// Remove the key.
    Delete,
    /// Leave the key as it is.
    Keep,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(value) => write!(f, "Put({} bytes)", value.len()),
            Self::Delete => f.write_str("Delete"),
            Self::Keep => f.write_str("Keep"),
        }
    }
}

/// A database could not be opened, read or written. The message says what failed, the source why.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    message: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error that is its own cause. The message must hold no stored value.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// An error with its cause. The message must not repeat the cause.
    pub fn with_source(
        message: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            message: message.into(),
            source: Some(source.into()),
        }
    }
}
