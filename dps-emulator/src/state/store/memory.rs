//! The store in memory: ordered maps behind a lock, for tests and temporary emulators.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Action, Change, Store, StoreError, Table};

/// Boxed, as there may be millions.
type Tables = HashMap<Table, BTreeMap<Box<str>, Box<[u8]>>>;

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
                    drop(records.insert(change.key.into(), value.as_slice().into()));
                }
                Action::Delete => drop(records.remove(change.key)),
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
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = records
            .range::<str, _>((start, Bound::Unbounded))
            .take(limit);
        Ok(page
            .map(|(key, value)| (key.to_string(), value.to_vec()))
            .collect())
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
        let records: usize = self.tables().values().map(BTreeMap::len).sum();
        f.debug_struct("MemoryStore")
            .field("records", &records)
            .finish()
    }
}

fn value<'t>(tables: &'t Tables, table: Table, key: &str) -> Option<&'t [u8]> {
    Some(tables.get(&table)?.get(key)?)
}
