//! The registrations with an operation in progress, each with the replica that carries it out. They have a table of their own,
//! so that a start does not read all records.

use dps_types::OperationId;

use super::store::{Change, Expected, Pages, Table};
use super::{Record, State, decode_or_skip};
use crate::service_error::ServiceError;

/// An operation in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InProgress {
    /// The registration id in lower case.
    pub(crate) key: String,
    /// `{replica} {operation}`. Empty in an entry that an import or an earlier version of the emulator wrote.
    entry: Vec<u8>,
}

impl InProgress {
    /// The id of the replica that carries the operation out.
    pub(crate) fn replica(&self) -> &str {
        self.parts().map_or("", |(replica, _)| replica)
    }

    /// The id of the operation; `None` if the entry does not have it.
    pub(crate) fn operation(&self) -> Option<OperationId> {
        OperationId::new(self.parts()?.1).ok()
    }

    fn parts(&self) -> Option<(&str, &str)> {
        std::str::from_utf8(&self.entry).ok()?.split_once(' ')
    }
}

impl State {
    /// The id of this emulator among those that share the store.
    pub(crate) fn replica(&self) -> &std::sync::Arc<str> {
        &self.replica
    }

    /// All operations in progress.
    pub(crate) async fn in_progress(&self) -> Result<Vec<InProgress>, ServiceError> {
        let found = Pages::all(&**self.store(), Table::Operations).collect();
        let found = found.await?.into_iter();
        Ok(found
            .map(|(key, entry)| InProgress { key, entry })
            .collect())
    }

    /// Makes this replica the one that carries the operation out. Returns the operation; `None` if another replica was faster,
    /// if the operation has ended, or if its record cannot be read.
    pub(crate) async fn take_over(
        &self,
        found: &InProgress,
    ) -> Result<Option<OperationId>, ServiceError> {
        let bytes = self.store().get(Table::Registrations, &found.key).await?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let record: Option<Record> = decode_or_skip(&found.key, &bytes);
        let Some(record) = record.filter(|record| record.pending.is_some()) else {
            return Ok(None);
        };
        let (key, expected) = (&*found.key, Expected::Exactly(&found.entry));
        let entry = self.operation_entry(&record.operation);
        // The entry must name the operation of the record.
        let changes = [
            Change::check(Table::Registrations, key, Expected::Exactly(&bytes)),
            Change::put(Table::Operations, key, expected, entry),
        ];
        let taken = self.store().apply(&changes).await?;
        Ok(taken.then_some(record.operation))
    }

    /// Whether this replica carries the operation out.
    pub(crate) async fn carries_out(
        &self,
        key: &str,
        operation: &OperationId,
    ) -> Result<bool, ServiceError> {
        let entry = self.store().get(Table::Operations, key).await?;
        Ok(entry == Some(self.operation_entry(operation)))
    }

    /// The entry of an operation that this replica carries out.
    pub(crate) fn operation_entry(&self, operation: &OperationId) -> Vec<u8> {
        format!("{} {operation}", self.replica).into_bytes()
    }

    /// The change of the index when a record is written.
    pub(super) fn operation_change<'a>(
        &self,
        before: Option<&Record>,
        record: &Record,
        key: &'a str,
    ) -> Option<Change<'a>> {
        let operation = |record: &Record| record.pending.as_ref().map(|_| record.operation.clone());
        let (before, after) = (before.and_then(operation), operation(record));
        match after {
            Some(after) if before.as_ref() == Some(&after) => None,
            Some(after) => {
                let entry = self.operation_entry(&after);
                let expected = Expected::Anything;
                Some(Change::put(Table::Operations, key, expected, entry))
            }
            None => Some(Change::delete(Table::Operations, key, Expected::Anything)),
        }
    }
}
