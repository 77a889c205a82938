//! The store that keeps the emulator's state: tables of bytes with compare-and-set, behind a trait.

mod conformance;
mod error;
mod memory;
mod notifications;
mod pages;
mod partition;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redb")]
mod redb;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::conformance::conformance;
pub use self::error::{StoreError, StoreErrorKind};
pub use self::memory::MemoryStore;
pub use self::notifications::{Notification, Notifications, Notifier};
pub(crate) use self::pages::Pages;
pub(crate) use self::partition::Partition;
#[cfg(feature = "postgres")]
pub use self::postgres::{ParsePostgresUrlError, PostgresStore, PostgresUrl};
#[cfg(feature = "redb")]
pub use self::redb::RedbStore;

/// A database that keeps the state of an emulator: enrollments, registrations, devices of the linked hubs.
///
/// The operations are: read one key, change several keys atomically if they still hold the values that the caller read,
/// and list a table in key order. The crate has three implementations: [`MemoryStore`], [`RedbStore`], and
/// `PostgresStore` with the feature `postgres`.
///
/// # For implementors
///
/// - [`apply`](Self::apply) returns `Ok(true)` only when the changes are durable.
/// - Calls are linearizable: a read that starts after an acknowledged change sees the change.
/// - If the future of [`apply`](Self::apply) is dropped, either all of its changes are made or none.
/// - A key is any string, including the empty string. Keys sort by their UTF-8 bytes, as `str` does.
///
/// [`conformance`] checks an implementation.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Reads one value.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies all changes atomically if every condition holds; otherwise changes nothing and returns `Ok(false)`.
    ///
    /// Every condition refers to the state before the call, even if two changes have the same key. The actions are then
    /// performed in order, so the last action on a key wins. An empty list of changes returns `Ok(true)`.
    ///
    /// # Errors
    ///
    /// If the database cannot be written. It is then unknown whether the changes were made.
    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError>;

    /// Reads at most `limit` entries in key order, starting with the first key greater than `after`, or with the first key
    /// if `after` is `None`. The cost does not depend on the position in the table.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Counts the keys of a table.
    ///
    /// The default implementation reads the whole table. The stores of this crate count in constant time.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
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

    /// Sends a message to all emulators that share the database, including this one. Messages of one sender arrive in order.
    ///
    /// The default implementation does nothing, because a database of one emulator needs no messages.
    ///
    /// # Errors
    ///
    /// If the message cannot be sent.
    async fn notify(&self, message: &str) -> Result<(), StoreError> {
        let _ = message;
        Ok(())
    }

    /// Receives the messages of [`notify`](Self::notify) from now on. `None` if no other emulator can use the database, which is
    /// the default. Emulators that share a database take over each other's operations and share their rates and connections.
    fn notifications(&self) -> Option<Notifications> {
        None
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

    /// Removes one key if the condition holds; `Ok(false)` if it does not. Removing an absent key is not an error.
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

macro_rules! forward_store {
    ($($Pointer:ty),*) => {$(
        #[async_trait]
        impl<S: Store + ?Sized> Store for $Pointer {
            async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
                (**self).get(table, key).await
            }

            async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError> {
                (**self).apply(changes).await
            }

            async fn scan(
                &self,
                table: Table,
                after: Option<&str>,
                limit: usize,
            ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
                (**self).scan(table, after, limit).await
            }

            async fn count(&self, table: Table) -> Result<u64, StoreError> {
                (**self).count(table).await
            }

            async fn notify(&self, message: &str) -> Result<(), StoreError> {
                (**self).notify(message).await
            }

            fn notifications(&self) -> Option<Notifications> {
                (**self).notifications()
            }
        }
    )*};
}

forward_store!(&S, Box<S>, Arc<S>);

/// A table of the store.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Individual enrollments, by registration ID.
    Individuals,
    /// Enrollment groups, by group ID.
    Groups,
    /// Device registration states, by registration ID.
    Registrations,
    /// The index of the devices that registered through a group, by group ID and registration ID.
    Members,
    /// The index of the registrations in progress, by registration ID.
    Operations,
    /// The index of the certificates of enrollments, by use and thumbprint.
    Thumbprints,
    /// The CA certificates of the instance, by name.
    CaCertificates,
    /// The devices of the linked IoT hubs with their twins, by hub and device ID.
    Hubs,
    /// The modules of those devices with their twins, by hub, device ID and module ID.
    HubModules,
    /// The cloud-to-device messages that wait for those devices, by hub, device ID and sequence number.
    HubMessages,
    /// Settings of the instance, such as generated keys.
    Meta,
    /// The instances that were created while an emulator ran, by id scope, and their names and hubs.
    Instances,
    /// The heartbeats of the emulators that share the database, by replica id.
    Replicas,
    /// The requests in the current window of each rate, if emulators share the database.
    Rates,
    /// The open challenges to TPMs, by registration id and TPM, if emulators share the database.
    Challenges,
    /// The queued faults, by number, if emulators share the database.
    Faults,
}

impl Table {
    /// The table's name in the database. It never changes, because stored data depends on it.
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
            Self::HubModules => "hub-modules",
            Self::HubMessages => "hub-messages",
            Self::Meta => "meta",
            Self::Instances => "instances",
            Self::Replicas => "replicas",
            Self::Rates => "rates",
            Self::Challenges => "challenges",
            Self::Faults => "faults",
        }
    }
}

/// One change of [`Store::apply`]: a condition on a key, and the action if all conditions hold.
///
/// `Debug` shows sizes instead of values, because values may contain device keys.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: &'a str,
    /// The condition on the current value.
    pub expected: Expected<'a>,
    /// The action.
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

    /// Changes nothing. The other changes are made only if the condition on this key holds.
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
#[allow(clippy::exhaustive_enums)] // every store must check every condition
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expected<'a> {
    /// No condition.
    Anything,
    /// The key must be absent.
    Absent,
    /// The key must hold exactly these bytes.
    Exactly(&'a [u8]),
}

impl<'a> Expected<'a> {
    /// The condition that the key still has the value that was read.
    pub(crate) fn unchanged(read: Option<&'a [u8]>) -> Self {
        read.map_or(Self::Absent, Self::Exactly)
    }

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

/// The action of a [`Change`] on its key.
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
