//! The memory of one replica. A crash clears it.

use super::store::{Entry, Record, Refused};

/// The id of a replica. A replica that starts again has another id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ReplicaId {
    pub(super) place: u8,
    pub(super) life: u8,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Replica {
    pub(super) life: u8,
    pub(super) up: bool,
    /// The request that it answers. Requests at the same time are at different replicas.
    pub(super) request: Option<Request>,
    /// Its task for each operation.
    pub(super) tasks: Vec<Option<Task>>,
    /// The entry that it looks at.
    pub(super) observer: Option<Observer>,
}

impl Replica {
    pub(super) fn new(operations: usize) -> Self {
        Self {
            life: 0,
            up: true,
            request: None,
            tasks: vec![None; operations],
            observer: None,
        }
    }

    pub(super) fn crash(&mut self) {
        *self = Self {
            life: self.life + 1,
            up: false,
            ..Self::new(self.tasks.len())
        };
    }

    /// Carries the operation out in a task, unless one does so.
    pub(super) fn begin(&mut self, operation: u8) {
        self.tasks[usize::from(operation)].get_or_insert(Task::NEW);
    }
}

/// A registration request of a device. Its number is the key of the device, and the operation that it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Request {
    pub(super) device: u8,
    pub(super) number: u8,
    pub(super) step: RequestStep,
}

/// The next step of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum RequestStep {
    /// Write the record and the entry, on the condition that the record is still this one.
    Write(Option<Record>),
    /// Write the entry. Only a weakened protocol does this in a change of its own.
    WriteEntry,
    /// Begin the operation if it is new, and answer the device with its id.
    Answer(u8),
}

/// The task that carries out an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Task {
    /// The hub that the webhook answered.
    pub(super) decided: Option<u8>,
    pub(super) step: TaskStep,
}

impl Task {
    const NEW: Self = Self {
        decided: None,
        step: TaskStep::Read,
    };
}

/// The next step of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum TaskStep {
    /// Read the record.
    Read,
    /// Call the webhook.
    Decide(Record),
    /// Write the result on the condition that the record is still this one.
    Complete(Record),
    /// Read the entry, because a change was refused.
    CheckEntry(Refused),
    /// Remove the entry. Only a weakened protocol does this in a change of its own.
    RemoveEntry,
    /// Stop. Until then the operation does not begin again.
    End,
}

/// The entry that a replica looks at, because its owner is dead or seems so, or because the entry is its own and has no task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Observer {
    pub(super) device: u8,
    pub(super) found: Entry,
    /// The operation in the record, after it was read.
    pub(super) operation: Option<u8>,
}
