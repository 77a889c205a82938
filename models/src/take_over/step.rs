//! What each step does.

use super::action::{Action, Reply};
use super::replica::{Observer, Request, RequestStep, Task, TaskStep};
use super::state::State;
use super::store::{Change, Entry, Expected, HUBS, Move, Record, Refused, Write};
use super::{Bounds, Protocol};

/// What a replica knows about a change that it sent.
enum Sent {
    Made,
    Refused(Refused),
    Unknown,
}

impl State {
    pub(super) fn perform(&mut self, protocol: Protocol, bounds: &Bounds, action: Action) {
        match action {
            Action::Register { replica, device } => {
                let number = bounds.registrations - self.left.registrations;
                self.left.registrations -= 1;
                self.operation(number).device = device;
                let step = RequestStep::Write(self.rows(device).record);
                self.replica(replica).request = Some(Request {
                    device,
                    number,
                    step,
                });
            }
            Action::Answer { replica, reply } => {
                if let Some(request) = self.replica(replica).request.take() {
                    let step = self.answer(protocol, replica, request, reply);
                    self.replica(replica).request = step.map(|step| Request { step, ..request });
                }
            }
            Action::Work {
                replica,
                operation,
                reply,
            } => {
                let at = usize::from(operation);
                if let Some(task) = self.replica(replica).tasks[at].take() {
                    let task = self.work(protocol, replica, operation, task, reply);
                    self.replica(replica).tasks[at] = task;
                }
            }
            Action::Observe { replica, device } => self.observe(replica, device),
            Action::Mistake { replica, device } => {
                self.left.mistakes -= 1;
                self.observe(replica, device);
            }
            Action::TakeOver { replica, reply } => {
                if let Some(observer) = self.replica(replica).observer.take() {
                    let observer = self.take_over(protocol, replica, observer, reply);
                    self.replica(replica).observer = observer;
                }
            }
            Action::Delete { device } => {
                self.left.deletions -= 1;
                self.delete(protocol, device);
            }
            Action::Crash { replica } => {
                self.left.crashes -= 1;
                self.replica(replica).crash();
            }
            Action::DeleteEntry { device } => {
                let rows = &mut self.store[usize::from(device)];
                (rows.entry, rows.deletes_entry) = (None, false);
            }
            Action::Restart { replica } => self.replica(replica).up = true,
            Action::Arrive { at } => {
                let (device, change) = self.late.remove(at);
                // Its sender has stopped waiting.
                let _ = self.apply(device, &change);
            }
        }
    }

    /// Writes the record of a registration, begins its operation and answers the device. Returns the next step.
    fn answer(
        &mut self,
        protocol: Protocol,
        replica: u8,
        request: Request,
        reply: Reply,
    ) -> Option<RequestStep> {
        let Request {
            device,
            number,
            step,
        } = request;
        let me = self.id(replica);
        let own = Write::Put(Entry {
            owner: me,
            operation: number,
        });
        let is_apart = protocol == Protocol::EntryAfterRecord;
        match step {
            RequestStep::Write(seen) => {
                let joined = seen.filter(|record| record.pending);
                let (record, entry, next) = match joined {
                    Some(record) => {
                        let next = RequestStep::Answer(record.operation);
                        (
                            Record {
                                key: number,
                                ..record
                            },
                            Write::Keep,
                            next,
                        )
                    }
                    None => {
                        let record = Record {
                            operation: number,
                            pending: true,
                            key: number,
                            hub: seen.and_then(|record| record.hub),
                        };
                        match is_apart {
                            true => (record, Write::Keep, RequestStep::WriteEntry),
                            false => (record, own, RequestStep::Answer(number)),
                        }
                    }
                };
                let mut change = Change::entry(me, Expected::Anything, entry);
                change.record = (Expected::Exactly(seen), Write::Put(record));
                matches!(self.send(device, change, reply), Sent::Made).then_some(next)
            }
            RequestStep::WriteEntry => {
                let change = Change::entry(me, Expected::Anything, own);
                matches!(self.send(device, change, reply), Sent::Made)
                    .then_some(RequestStep::Answer(number))
            }
            RequestStep::Answer(operation) => {
                self.operation(operation).acknowledged = true;
                if operation == number {
                    self.replica(replica).begin(number);
                }
                None
            }
        }
    }

    /// Carries out the next step of an operation. Returns the task unless it stops.
    fn work(
        &mut self,
        protocol: Protocol,
        replica: u8,
        number: u8,
        mut task: Task,
        reply: Reply,
    ) -> Option<Task> {
        let device = self.operation(number).device;
        let own = Entry {
            owner: self.id(replica),
            operation: number,
        };
        task.step = match task.step {
            TaskStep::Read => match self.rows(device).pending() {
                Some(record) if record.operation != number => TaskStep::End,
                Some(record) if task.decided.is_some() => TaskStep::Complete(record),
                Some(record) => TaskStep::Decide(record),
                None => TaskStep::End,
            },
            TaskStep::Decide(record) => {
                let operation = self.operation(number);
                // The webhook answers another hub each time.
                task.decided = Some((number + operation.calls) % HUBS);
                operation.calls += 1;
                TaskStep::Complete(record)
            }
            TaskStep::Complete(record) => {
                let change = completion(protocol, own, record, task.decided?);
                match self.send(device, change, reply) {
                    Sent::Made if protocol == Protocol::EntryAfterResult => TaskStep::RemoveEntry,
                    Sent::Made => TaskStep::End,
                    Sent::Refused(refused) => TaskStep::CheckEntry(refused),
                    Sent::Unknown => TaskStep::Read,
                }
            }
            TaskStep::CheckEntry(_) if self.rows(device).entry == Some(own) => {
                if protocol == Protocol::DecisionForgotten {
                    task.decided = None;
                }
                TaskStep::Read
            }
            TaskStep::CheckEntry(_) => TaskStep::End,
            TaskStep::RemoveEntry => {
                let expected = Expected::Exactly(Some(own));
                let change = Change::entry(own.owner, expected, Write::Delete);
                match self.send(device, change, reply) {
                    Sent::Made | Sent::Refused(_) => TaskStep::End,
                    Sent::Unknown => TaskStep::RemoveEntry,
                }
            }
            TaskStep::End => return None,
        };
        Some(task)
    }

    fn observe(&mut self, replica: u8, device: u8) {
        let entry = self.rows(device).entry;
        self.replica(replica).observer = entry.map(|found| Observer {
            device,
            found,
            operation: None,
        });
    }

    /// Takes over the operation whose entry was read. An own operation begins again. Returns the observer unless it has finished.
    fn take_over(
        &mut self,
        protocol: Protocol,
        replica: u8,
        observer: Observer,
        reply: Reply,
    ) -> Option<Observer> {
        let Observer {
            device,
            found,
            operation,
        } = observer;
        let me = self.id(replica);
        if found.owner == me {
            self.replica(replica).begin(found.operation);
            return None;
        }
        let Some(operation) = operation else {
            let record = self.rows(device).pending()?;
            return Some(Observer {
                operation: Some(record.operation),
                ..observer
            });
        };
        let expected = match protocol {
            Protocol::TakeOverIgnoresEntry => Expected::Anything,
            _ => Expected::Exactly(Some(found)),
        };
        let entry = Write::Put(Entry {
            owner: me,
            operation,
        });
        if let Sent::Made = self.send(device, Change::entry(me, expected, entry), reply) {
            self.replica(replica).begin(operation);
        }
        None
    }

    /// Sends a change to the store. If the reply is an error, the change arrives later or never.
    fn send(&mut self, device: u8, change: Change, reply: Reply) -> Sent {
        match reply {
            Reply::Result => match self.apply(device, &change) {
                Ok(()) => Sent::Made,
                Err(refused) => Sent::Refused(refused),
            },
            Reply::Error => {
                self.left.errors -= 1;
                self.late.push((device, change));
                Sent::Unknown
            }
        }
    }
}

/// The change that ends an operation: it writes the result, moves the device to its hub and removes the entry.
fn completion(protocol: Protocol, own: Entry, before: Record, hub: u8) -> Change {
    let record = Record {
        pending: false,
        hub: Some(hub),
        ..before
    };
    let mut change = Change {
        by: own.owner,
        record: (Expected::Exactly(Some(before)), Write::Put(record)),
        entry: (Expected::Exactly(Some(own)), Write::Delete),
        identity: Some(Move {
            from: before.hub,
            to: hub,
            key: before.key,
        }),
    };
    if let Protocol::ResultIgnoresRecord | Protocol::ResultIgnoresBoth = protocol {
        change.record.0 = Expected::Anything;
    }
    if let Protocol::ResultIgnoresEntry | Protocol::ResultIgnoresBoth = protocol {
        change.entry.0 = Expected::Anything;
    }
    if protocol == Protocol::EntryAfterResult {
        change.entry.1 = Write::Keep;
    }
    change
}
