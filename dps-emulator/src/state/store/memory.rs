//! The store in memory: ordered sets of records behind a lock, for tests and temporary emulators.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Action, Change, Store, StoreError, Table};

type Tables = HashMap<Table, BTreeSet<Record>>;

/// Keeps everything in memory. Nothing outlives the value.
#[derive(Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// No panic can happen while the maps are half changed, so a poisoned lock still guards good data.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(value(&self.tables(), table, key).map(<[u8]>::to_vec))
    }

    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let holds = |change: &Change<'_>| {
            let current = value(&tables, change.table, change.key);
            change.expected.holds(current)
        };
        if !changes.iter().all(holds) {
            return Ok(false);
        }
        for change in changes {
            let records = tables.entry(change.table).or_default();
            match &change.action {
                Action::Put(value) => {
                    drop(records.replace(Record::new(change.key, value)));
                }
                Action::Delete => drop(records.take(change.key.as_bytes())),
                Action::Keep => {}
            }
        }
        Ok(true)
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let tables = self.tables();
        let Some(records) = tables.get(&table) else {
            return Ok(Vec::new());
        };
        let after = after.map(str::as_bytes);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = records
            .range::<[u8], _>((start, Bound::Unbounded))
            .take(limit);
        Ok(page.map(Record::to_entry).collect())
    }

    async fn count(&self, table: Table) -> Result<u64, StoreError> {
        Ok(self
            .tables()
            .get(&table)
            .map_or(0, |records| records.len() as u64))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records: usize = self.tables().values().map(BTreeSet::len).sum();
        f.debug_struct("MemoryStore")
            .field("records", &records)
            .finish()
    }
}

fn value<'t>(tables: &'t Tables, table: Table, key: &str) -> Option<&'t [u8]> {
    Some(tables.get(&table)?.get(key.as_bytes())?.value())
}

/// A key and its value in one allocation, because there may be millions: the length of the key, the key, the value. Records are
/// compared by their keys.
struct Record(Box<[u8]>);

impl Record {
    fn new(key: &str, value: &[u8]) -> Self {
        let length = key.len().to_ne_bytes();
        Self([&length, key.as_bytes(), value].concat().into_boxed_slice())
    }

    fn key(&self) -> &[u8] {
        self.parts().0
    }

    fn value(&self) -> &[u8] {
        self.parts().1
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        let parts = self.0.split_first_chunk();
        let parts =
            parts.and_then(|(length, rest)| rest.split_at_checked(usize::from_ne_bytes(*length)));
        parts.unwrap_or_default()
    }

    fn to_entry(&self) -> (String, Vec<u8>) {
        let (key, value) = self.parts();
        (String::from_utf8_lossy(key).into_owned(), value.to_vec())
    }
}

/// The bytes of a text are in the order of the text.
impl Borrow<[u8]> for Record {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl Ord for Record {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Record {}
