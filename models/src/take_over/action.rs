//! The steps that are possible in a state.

use super::Protocol;
use super::replica::{RequestStep, TaskStep};
use super::state::State;

/// A step of a replica, with at most one call of the store, or an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A device registers at a replica, which reads the record.
    Register {
        /// The replica.
        replica: u8,
        /// The device.
        device: u8,
    },
    /// A replica performs the next step of the request that it answers.
    Answer {
        /// The replica.
        replica: u8,
        /// What it learns.
        reply: Reply,
    },
    /// A replica performs the next step of a task.
    Work {
        /// The replica.
        replica: u8,
        /// The operation of the task.
        operation: u8,
        /// What the replica learns.
        reply: Reply,
    },
    /// A replica reads an entry whose owner is dead, or an own entry without a task.
    Observe {
        /// The replica.
        replica: u8,
        /// The device.
        device: u8,
    },
    /// A replica reads an entry, and takes the owner for dead although it is alive.
    Mistake {
        /// The replica.
        replica: u8,
        /// The device.
        device: u8,
    },
    /// A replica performs the next step of the take-over of the operation that it observes.
    TakeOver {
        /// The replica.
        replica: u8,
        /// What it learns.
        reply: Reply,
    },
    /// A service client deletes the record.
    Delete {
        /// The device.
        device: u8,
    },
    /// A service client deletes the entry. Only a weakened protocol does this in a change of its own.
    DeleteEntry {
        /// The device.
        device: u8,
    },
    /// A replica loses its memory.
    Crash {
        /// The replica.
        replica: u8,
    },
    /// A replica starts again, with a new id.
    Restart {
        /// The replica.
        replica: u8,
    },
    /// A change whose sender received an error arrives at the store.
    Arrive {
        /// Its number among these changes.
        at: usize,
    },
}

/// What a replica learns about a call of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The result.
    Result,
    /// An error: the result is unknown.
    Error,
}

impl State {
    /// The steps that replicas perform without an event. If all replicas are down, one starts again.
    pub(super) fn progress(&self, protocol: Protocol) -> Vec<Action> {
        let reply = Reply::Result;
        let mut actions = Vec::new();
        for (replica, memory) in (0u8..).zip(&self.replicas).filter(|(_, it)| it.up) {
            if memory.request.is_some() {
                actions.push(Action::Answer { replica, reply });
            }
            for (operation, _) in (0..).zip(&memory.tasks).filter(|(_, task)| task.is_some()) {
                actions.push(Action::Work {
                    replica,
                    operation,
                    reply,
                });
            }
            if memory.observer.is_some() {
                actions.push(Action::TakeOver { replica, reply });
                continue;
            }
            for (device, rows) in (0..).zip(&self.store) {
                let requires_attention = rows.entry.is_some_and(|entry| {
                    let is_idle = memory.tasks[usize::from(entry.operation)].is_none();
                    if entry.owner == self.id(replica) {
                        is_idle && protocol != Protocol::OwnEntriesIgnored
                    } else {
                        !self.is_alive(entry.owner)
                    }
                });
                if requires_attention {
                    actions.push(Action::Observe { replica, device });
                }
            }
        }
        if self.replicas.iter().all(|it| !it.up) {
            actions.extend(
                (0..)
                    .zip(&self.replicas)
                    .map(|(replica, _)| Action::Restart { replica }),
            );
        }
        actions
    }

    /// The events that may happen, within the bounds.
    pub(super) fn events(&self, actions: &mut Vec<Action>) {
        let is_any_up = self.replicas.iter().any(|it| it.up);
        for (replica, memory) in (0u8..).zip(&self.replicas) {
            if !memory.up {
                if is_any_up {
                    actions.push(Action::Restart { replica });
                }
                continue;
            }
            if self.left.crashes > 0 {
                actions.push(Action::Crash { replica });
            }
            if self.left.errors > 0 {
                self.errors(replica, actions);
            }
            for (device, rows) in (0..).zip(&self.store) {
                if self.left.registrations > 0 && memory.request.is_none() {
                    actions.push(Action::Register { replica, device });
                }
                let is_other = rows.entry.is_some_and(|entry| {
                    entry.owner != self.id(replica) && self.is_alive(entry.owner)
                });
                if is_other && self.left.mistakes > 0 && memory.observer.is_none() {
                    actions.push(Action::Mistake { replica, device });
                }
            }
        }
        for (device, rows) in (0..).zip(&self.store) {
            if self.left.deletions > 0 && rows.record.is_some() {
                actions.push(Action::Delete { device });
            }
            if rows.deletes_entry {
                actions.push(Action::DeleteEntry { device });
            }
        }
        actions.extend((0..self.late.len()).map(|at| Action::Arrive { at }));
    }

    /// The changes whose result the replica may not learn. The failure of a read has no effect.
    fn errors(&self, replica: u8, actions: &mut Vec<Action>) {
        let reply = Reply::Error;
        let memory = &self.replicas[usize::from(replica)];
        let writes = |step| matches!(step, RequestStep::Write(_) | RequestStep::WriteEntry);
        if memory.request.is_some_and(|request| writes(request.step)) {
            actions.push(Action::Answer { replica, reply });
        }
        if memory.observer.is_some_and(|it| it.operation.is_some()) {
            actions.push(Action::TakeOver { replica, reply });
        }
        for (operation, task) in (0..).zip(&memory.tasks) {
            let writes = |step| matches!(step, TaskStep::Complete(_) | TaskStep::RemoveEntry);
            if task.is_some_and(|task| writes(task.step)) {
                actions.push(Action::Work {
                    replica,
                    operation,
                    reply,
                });
            }
        }
    }
}
