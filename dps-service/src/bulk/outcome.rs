//! What became of the items of a bulk run.

use crate::error::{Error, ErrorKind};

/// What became of one item.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BulkOutcome<E> {
    /// Its place in what was given, from 0.
    pub index: usize,
    /// The item, as it was given.
    pub item: E,
    /// Whether it was carried out.
    pub result: Result<(), Error>,
}

impl<E> BulkOutcome<E> {
    /// Whether the item itself is what was refused: another run would have the same end.
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

/// How far a bulk operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkProgress {
    /// Items that were carried out.
    pub succeeded: usize,
    /// Items that were not.
    pub failed: usize,
}

/// What became of all items.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BulkReport<E> {
    /// How many items were carried out.
    pub succeeded: usize,
    /// The others, in the order in which they were given.
    pub failed: Vec<BulkOutcome<E>>,
}

impl<E> BulkReport<E> {
    /// Whether every item was carried out.
    pub fn is_successful(&self) -> bool {
        self.failed.is_empty()
    }

    /// The items that nothing was found wrong with, in their order: their requests failed, or were not sent. Once that is
    /// put right, they can be given to another run.
    pub fn into_unfinished(self) -> impl Iterator<Item = E> {
        let failed = self.failed.into_iter();
        failed
            .filter(|outcome| !outcome.is_refused())
            .map(|outcome| outcome.item)
    }
}
