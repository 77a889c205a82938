//! Applies a batch of changes in one redb transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ::redb::{AccessGuard, Database, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::super::{Action, Change, Expected, Table};

/// Applies the changes of each caller, one caller after another, and reports for each whether its conditions held.
///
/// When this returns, the changes are on the disk.
pub(super) fn commit<'c>(
    database: &Database,
    batch: impl Iterator<Item = &'c [OwnedChange]>,
) -> Result<Vec<bool>, ::redb::Error> {
    let mut transaction = database.begin_write()?;
    // Opening the file after a crash then takes the same time for every size of it.
    transaction.set_quick_repair(true);
    let mut outcomes = Vec::new();
    {
        let mut tables = Tables::new(&transaction);
        for changes in batch {
            outcomes.push(tables.apply(changes)?);
        }
    }
    if outcomes.contains(&true) {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(outcomes)
}

type OpenTable<'t> = ::redb::Table<'t, &'static str, &'static [u8]>;

pub(super) fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
}

/// The tables that one transaction writes to, each opened at its first use.
struct Tables<'t> {
    transaction: &'t WriteTransaction,
    open: HashMap<Table, OpenTable<'t>>,
}

impl<'t> Tables<'t> {
    fn new(transaction: &'t WriteTransaction) -> Self {
        Self {
            transaction,
            open: HashMap::new(),
        }
    }

    fn apply(&mut self, changes: &[OwnedChange]) -> Result<bool, ::redb::Error> {
        for change in changes {
            let current = self.table(change.table)?.get(change.key.as_str())?;
            let current = current.as_ref().map(AccessGuard::value);
            if !change.expected().holds(current) {
                return Ok(false);
            }
        }
        for change in changes {
            let (records, key) = (self.table(change.table)?, change.key.as_str());
            match &change.action {
                Action::Put(value) => drop(records.insert(key, value.as_slice())?),
                Action::Delete => drop(records.remove(key)?),
                Action::Keep => {}
            }
        }
        Ok(true)
    }

    fn table(&mut self, table: Table) -> Result<&mut OpenTable<'t>, TableError> {
        Ok(match self.open.entry(table) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(closed) => closed.insert(self.transaction.open_table(definition(table))?),
        })
    }
}

/// A [`Change`] that can be sent to another thread.
pub(super) struct OwnedChange {
    table: Table,
    key: String,
    /// `None` is [`Expected::Anything`], `Some(None)` is [`Expected::Absent`].
    expected: Option<Option<Vec<u8>>>,
    action: Action,
}

impl OwnedChange {
    fn expected(&self) -> Expected<'_> {
        match &self.expected {
            None => Expected::Anything,
            Some(None) => Expected::Absent,
            Some(Some(value)) => Expected::Exactly(value),
        }
    }
}

impl From<&Change<'_>> for OwnedChange {
    fn from(change: &Change<'_>) -> Self {
        let expected = match change.expected {
            Expected::Anything => None,
            Expected::Absent => Some(None),
            Expected::Exactly(value) => Some(Some(value.to_vec())),
        };
        Self {
            table: change.table,
            key: change.key.to_owned(),
            expected,
            action: change.action.clone(),
        }
    }
}
