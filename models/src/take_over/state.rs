//! A state of the model: the store, the replicas, what may still happen, and the history that the properties judge.

use super::replica::{Replica, ReplicaId};
use super::store::{Change, Refused, Rows, Write};
use super::{Protocol, REPLICAS};

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The rows of each device.
    pub(super) store: Vec<Rows>,
    pub(super) replicas: Vec<Replica>,
    /// Changes whose sender received an error. Each arrives at any later time, or never.
    pub(super) late: Vec<(u8, Change)>,
    /// What may still happen.
    pub(super) left: Bounds,
    /// The history of each operation.
    pub(super) operations: Vec<Operation>,
    /// Whether a replica wrote a result while the operation was another's.
    pub(super) stale_result: bool,
}

/// How often each event may happen in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Devices that register.
    pub devices: u8,
    /// Registration requests, of all devices.
    pub registrations: u8,
    /// Deletions of a registration record.
    pub deletions: u8,
    /// Crashes of a replica. Each crashed replica may start again.
    pub crashes: u8,
    /// Owners that are taken for dead although they are alive. A dead owner is always found.
    pub mistakes: u8,
    /// Changes with an unknown result: the replica receives an error, and the change is made now, later, or never.
    pub errors: u8,
}

/// The history of an operation. The protocol cannot read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Operation {
    pub(super) device: u8,
    /// The key of the latest registration that began or joined it.
    pub(super) key: Option<u8>,
    /// Whether a device received its id.
    pub(super) acknowledged: bool,
    /// Calls of the webhook.
    pub(super) calls: u8,
    /// Results that were written.
    pub(super) results: u8,
    /// Whether the record was deleted while it was in progress.
    pub(super) deleted: bool,
}

impl State {
    pub(super) fn new(bounds: Bounds) -> Self {
        let operations = usize::from(bounds.registrations);
        Self {
            store: vec![Rows::default(); usize::from(bounds.devices)],
            replicas: vec![Replica::new(operations); usize::from(REPLICAS)],
            late: Vec::new(),
            left: bounds,
            operations: vec![Operation::default(); operations],
            stale_result: false,
        }
    }

    pub(super) fn replica(&mut self, place: u8) -> &mut Replica {
        &mut self.replicas[usize::from(place)]
    }

    pub(super) fn rows(&self, device: u8) -> &Rows {
        &self.store[usize::from(device)]
    }

    pub(super) fn operation(&mut self, number: u8) -> &mut Operation {
        &mut self.operations[usize::from(number)]
    }

    /// The current id of the replica in this place.
    pub(super) fn id(&self, place: u8) -> ReplicaId {
        let life = self.replicas[usize::from(place)].life;
        ReplicaId { place, life }
    }

    pub(super) fn is_alive(&self, id: ReplicaId) -> bool {
        let replica = &self.replicas[usize::from(id.place)];
        replica.up && replica.life == id.life
    }

    /// Makes the change if its conditions hold, and notes it in the history.
    pub(super) fn apply(&mut self, device: u8, change: &Change) -> Result<(), Refused> {
        let rows = &mut self.store[usize::from(device)];
        let owner = rows.entry.map(|entry| entry.owner);
        rows.apply(change)?;
        if let Write::Put(record) = change.record.1 {
            let operation = self.operation(record.operation);
            if record.pending {
                operation.key = Some(record.key);
            } else {
                operation.results += 1;
                self.stale_result |= owner != Some(change.by);
            }
        }
        Ok(())
    }

    /// Deletes the record and the entry. The identity in the hub stays, but no record has it: the model forgets it.
    pub(super) fn delete(&mut self, protocol: Protocol, device: u8) {
        if let Some(record) = self.rows(device).pending() {
            self.operation(record.operation).deleted = true;
        }
        let rows = &mut self.store[usize::from(device)];
        let (entry, deletes_entry) = match protocol {
            Protocol::EntryDeletedAfterRecord => (rows.entry, true),
            _ => (None, false),
        };
        *rows = Rows {
            entry,
            deletes_entry,
            ..Rows::default()
        };
    }
}
