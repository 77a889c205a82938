//! The rows of one device in the shared store, and atomic changes with conditions, as `Store::apply`.

use super::replica::ReplicaId;

/// The linked hubs of the model.
pub(super) const HUBS: u8 = 2;

/// The rows that belong to one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Rows {
    /// Table `registrations`.
    pub(super) record: Option<Record>,
    /// Table `operations`.
    pub(super) entry: Option<Entry>,
    /// Table `hubs`: the key with which the device is known in each hub.
    pub(super) identities: [Option<u8>; HUBS as usize],
    /// Whether the entry will be deleted, because the record was. Only a weakened protocol does this in a change of its own.
    pub(super) deletes_entry: bool,
}

/// A registration record. Each registration has another key, so that equal records are the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) operation: u8,
    pub(super) pending: bool,
    /// The key of the device's latest registration.
    pub(super) key: u8,
    /// The hub of the last assignment. It is kept while the device registers again.
    pub(super) hub: Option<u8>,
}

/// The entry of an operation in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) owner: ReplicaId,
    pub(super) operation: u8,
}

/// A condition on one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Expected<T> {
    Anything,
    Exactly(Option<T>),
}

impl<T: PartialEq> Expected<T> {
    fn holds(&self, row: &Option<T>) -> bool {
        match self {
            Self::Anything => true,
            Self::Exactly(expected) => expected == row,
        }
    }
}

/// The new value of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Write<T> {
    Keep,
    Put(T),
    Delete,
}

impl<T> Write<T> {
    fn to(self, row: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Put(value) => *row = Some(value),
            Self::Delete => *row = None,
        }
    }
}

/// A change of several rows that is made as a whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Change {
    /// The replica that sends it. The store does not use it.
    pub(super) by: ReplicaId,
    pub(super) record: (Expected<Record>, Write<Record>),
    pub(super) entry: (Expected<Entry>, Write<Entry>),
    pub(super) identity: Option<Move>,
}

/// Moves the device from the hub of its last assignment to another hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Move {
    pub(super) from: Option<u8>,
    pub(super) to: u8,
    pub(super) key: u8,
}

impl Change {
    /// A change of the entry alone.
    pub(super) fn entry(by: ReplicaId, expected: Expected<Entry>, write: Write<Entry>) -> Self {
        Self {
            by,
            record: (Expected::Anything, Write::Keep),
            entry: (expected, write),
            identity: None,
        }
    }

    /// The ids of replicas in the change.
    pub(super) fn ids_mut(&mut self) -> impl Iterator<Item = &mut ReplicaId> {
        let expected = match &mut self.entry.0 {
            Expected::Exactly(Some(entry)) => Some(&mut entry.owner),
            _ => None,
        };
        let written = match &mut self.entry.1 {
            Write::Put(entry) => Some(&mut entry.owner),
            _ => None,
        };
        [Some(&mut self.by), expected, written]
            .into_iter()
            .flatten()
    }
}

/// The condition that did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Refused {
    Record,
    Entry,
}

impl Rows {
    /// The record, if a registration is in progress.
    pub(super) fn pending(&self) -> Option<Record> {
        self.record.filter(|record| record.pending)
    }

    /// Makes the change if all conditions hold.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), Refused> {
        if !change.record.0.holds(&self.record) {
            return Err(Refused::Record);
        }
        if !change.entry.0.holds(&self.entry) {
            return Err(Refused::Entry);
        }
        change.record.1.to(&mut self.record);
        change.entry.1.to(&mut self.entry);
        if let Some(Move { from, to, key }) = change.identity {
            if let Some(from) = from {
                self.identities[usize::from(from)] = None;
            }
            self.identities[usize::from(to)] = Some(key);
        }
        Ok(())
    }
}
