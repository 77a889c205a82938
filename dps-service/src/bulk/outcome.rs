//! The outcomes of a bulk operation.

use crate::error::{Error, ErrorKind};

/// The outcome of one item.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BulkOutcome<E> {
    /// The index of the item in the input, from 0.
    pub index: usize,
    /// The item.
    pub item: E,
    /// The result of the operation on the item.
    pub result: Result<(), Error>,
}

impl<E> BulkOutcome<E> {
    /// Returns true if the service refused the item itself, so that another run would fail in the same way.
    pub fn is_refused(&self) -> bool {
        let kind = self.result.as_ref().err().map(Error::kind);
        matches!(
            kind,
            Some(
                ErrorKind::Conflict
                    | ErrorKind::Invalid
                    | ErrorKind::NotFound
                    | ErrorKind::PreconditionFailed
                    | ErrorKind::Unsupported
            )
        )
    }
}

/// The progress of a bulk operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkProgress {
    /// The number of items that succeeded.
    pub succeeded: usize,
    /// The number of items that failed.
    pub failed: usize,
}

/// The result of a whole bulk operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BulkReport<E> {
    /// The number of items that succeeded.
    pub succeeded: usize,
    /// The outcomes of the items that failed, in the order of the items.
    pub failed: Vec<BulkOutcome<E>>,
}

impl<E> BulkReport<E> {
    /// Returns true if every item succeeded.
    pub fn is_successful(&self) -> bool {
        self.failed.is_empty()
    }

    /// Returns the items that were not refused, in their order: their requests failed or were not sent. They can be passed
    /// to another run when the cause is removed.
    pub fn into_unfinished(self) -> impl Iterator<Item = E> {
        let failed = self.failed.into_iter();
        failed
            .filter(|outcome| !outcome.is_refused())
            .map(|outcome| outcome.item)
    }
}
