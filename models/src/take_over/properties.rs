//! The properties of the protocol. The checker evaluates each of them in every state.

use stateright::Property;

use super::replica::{Task, TaskStep};
use super::store::{Refused, Rows};
use super::{State, TakeOver};

/// An operation has at most one result, so that no two polls read different results.
pub const ONE_RESULT: &str = "a result is written at most once";
/// A replica that has lost its operation does not write the result.
pub const OWNER_WRITES: &str = "only the owner of an operation writes its result";
/// The tables `registrations` and `operations` agree.
pub const ENTRY_AGREES: &str = "an operation is in progress if and only if it has an entry";
/// The hub has the device as the record describes it.
pub const ONE_IDENTITY: &str = "a device has one identity, the one of its record";
/// A registration that joined an operation is not overwritten.
pub const LATEST_KEY: &str = "the record has the key of the latest registration";
/// No operation disappears.
pub const NONE_LOST: &str =
    "an acknowledged operation is in progress, has a result, or was deleted";
/// Operations do not stay in progress.
pub const ALL_END: &str = "every operation ends";
/// The webhook is called once, unless a crash or a take-over makes a second call necessary.
pub const CALLS: &str = "the webhook is called again only after a crash or a mistake";

pub(super) fn all() -> Vec<Property<TakeOver>> {
    vec![
        Property::always(ONE_RESULT, has_one_result),
        Property::always(OWNER_WRITES, |_, state: &State| !state.stale_result),
        Property::always(ENTRY_AGREES, entries_agree),
        Property::always(ONE_IDENTITY, has_one_identity),
        Property::always(LATEST_KEY, has_latest_key),
        Property::always(NONE_LOST, none_is_lost),
        Property::always(ALL_END, all_end),
        Property::always(CALLS, calls_have_a_cause),
        Property::sometimes("the operation of a crashed owner ends", crashed_owner),
        Property::sometimes("a live owner loses its operation", |_, state: &State| {
            foreign_task(state, |step| matches!(step, TaskStep::Complete(_)))
        }),
        Property::sometimes("a stale result is refused", |_, state: &State| {
            foreign_task(state, |step| *step == TaskStep::CheckEntry(Refused::Entry))
        }),
        Property::sometimes("a registration joins a decided operation", joined),
    ]
}

fn has_one_result(_: &TakeOver, state: &State) -> bool {
    state.operations.iter().all(|it| it.results <= 1)
}

fn entries_agree(_: &TakeOver, state: &State) -> bool {
    state.store.iter().all(|rows| {
        let (pending, entry) = (rows.pending(), rows.entry);
        pending.map(|record| record.operation) == entry.map(|entry| entry.operation)
    })
}

/// While a device registers again, it keeps the identity of its last assignment.
fn has_one_identity(_: &TakeOver, state: &State) -> bool {
    state.store.iter().all(|rows| {
        let assigned = rows.record.and_then(|record| Some((record, record.hub?)));
        (0u8..)
            .zip(&rows.identities)
            .all(|(hub, key)| match (key, assigned) {
                (Some(key), Some((record, at))) => {
                    hub == at && (record.pending || record.key == *key)
                }
                (Some(_), None) => false,
                (None, assigned) => assigned.is_none_or(|(_, at)| hub != at),
            })
    })
}

fn has_latest_key(_: &TakeOver, state: &State) -> bool {
    let records = state.store.iter().filter_map(|rows| rows.record);
    let latest = |operation: u8| state.operations[usize::from(operation)].key;
    records
        .into_iter()
        .all(|record| latest(record.operation) == Some(record.key))
}

fn none_is_lost(_: &TakeOver, state: &State) -> bool {
    (0u8..).zip(&state.operations).all(|(number, operation)| {
        let is_pending = |rows: &Rows| rows.pending().is_some_and(|it| it.operation == number);
        !operation.acknowledged
            || operation.results > 0
            || operation.deleted
            || state.store.iter().any(is_pending)
    })
}

/// If no replica has a step to perform, nothing is in progress. Every run of the model ends, so this is what "eventually" means
/// if replicas do not stop while they have a step to perform.
fn all_end(model: &TakeOver, state: &State) -> bool {
    let is_idle = |rows: &Rows| rows.pending().is_none() && rows.entry.is_none();
    state.store.iter().all(is_idle) || !state.progress(model.protocol).is_empty()
}

fn calls_have_a_cause(model: &TakeOver, state: &State) -> bool {
    let has_cause =
        state.left.crashes < model.bounds.crashes || state.left.mistakes < model.bounds.mistakes;
    has_cause || state.operations.iter().all(|it| it.calls <= 1)
}

fn crashed_owner(model: &TakeOver, state: &State) -> bool {
    let is_by_crash = state.left.mistakes == model.bounds.mistakes;
    is_by_crash
        && state
            .operations
            .iter()
            .any(|it| it.calls == 2 && it.results == 1)
}

/// Whether a replica works on an operation in progress whose entry is another replica's.
fn foreign_task(state: &State, step: fn(&TaskStep) -> bool) -> bool {
    tasks(state).any(|(place, number, task)| {
        step(&task.step)
            && state.store.iter().any(|rows| {
                rows.pending().is_some_and(|it| it.operation == number)
                    && rows
                        .entry
                        .is_some_and(|entry| entry.owner != state.id(place))
            })
    })
}

fn joined(_: &TakeOver, state: &State) -> bool {
    tasks(state).any(|(_, number, task)| {
        task.step == TaskStep::CheckEntry(Refused::Record)
            && state
                .store
                .iter()
                .any(|rows| rows.pending().is_some_and(|it| it.operation == number))
    })
}

/// All tasks, with the place of the replica and the number of the operation.
fn tasks(state: &State) -> impl Iterator<Item = (u8, u8, &Task)> {
    (0u8..).zip(&state.replicas).flat_map(|(place, replica)| {
        let numbered = (0u8..).zip(&replica.tasks);
        numbered.filter_map(move |(number, task)| Some((place, number, task.as_ref()?)))
    })
}
