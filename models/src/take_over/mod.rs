//! The protocol by which emulators that share a store carry out every registration, also when one of them crashes or is slow.
//!
//! An operation in progress has an entry in table `operations`: its owner, which is a replica, and its id. The entry appears with
//! `pending` in the registration record and disappears with it, in the same change of the store. A replica takes over the
//! operation of a dead owner by compare-and-set of the entry. A result is written on the condition that neither the record nor
//! the entry has changed.
//!
//! # Steps
//!
//! Each step makes at most one call of the store. In `dps-emulator`:
//!
//! | step | code |
//! | --- | --- |
//! | [`Action::Register`] | `Engine::register` until it has read the record |
//! | [`Action::Answer`] | the write of a new operation: `Engine::record`, `State::write_registration`; of a second registration: `Engine::keep_latest`; `Engine::begin` and the answer |
//! | [`Action::Work`] | `Engine::try_assign`: it reads the record, calls the webhook in `Engine::decide`, writes in `Engine::complete`, and after a refusal reads the entry in `State::carries_out` |
//! | [`Action::Observe`], [`Action::Mistake`] | `Instances::observe` and `Engine::take_over_unless` with `State::in_progress`; `Living` decides which replicas are dead |
//! | [`Action::TakeOver`] | `State::take_over`, which reads the record and replaces the entry; `Engine::begin` |
//! | [`Action::Delete`] | `State::delete_registration` |
//! | [`Action::Crash`] | the end of the process at any moment, also `Instances::stopped` |
//! | [`Action::Restart`] | a new process, with `Instances::resume` |
//! | [`Reply::Error`], [`Action::Arrive`] | a `StoreError` of `Store::apply`: the change is made before it, after it, or never |
//!
//! A poll reads one record and changes nothing. The properties judge every state, so they judge every answer to a poll.
//!
//! # Simplifications
//!
//! - The model has no clock and no heartbeats: a replica may take any other for dead at any moment. This includes all differences
//!   between clocks, pauses and lost heartbeats. The number of such mistakes in a run is limited. Without a limit two replicas could
//!   take an operation from each other forever.
//! - The read and the change of a deletion are one step: a deletion whose condition does not hold has no effect.
//! - A registration with a disabled enrollment ends the operation in progress as a deletion does. A revocation of certificates
//!   changes the record as a second registration does. A failure is a result.
//! - The change of `Engine::complete` has more conditions, on rows of hubs. They refuse a change as the condition on the record
//!   does.

mod action;
pub mod properties;
mod replica;
mod state;
mod step;
mod store;
mod symmetry;

use stateright::{Model, Property};

pub use action::{Action, Reply};
pub use state::{Bounds, State};

/// The replicas of the model.
const REPLICAS: u8 = 3;

/// The protocol with bounds, so that its runs end.
#[derive(Debug, Clone, Copy)]
pub struct TakeOver {
    /// The protocol, or the protocol without one of its rules.
    pub protocol: Protocol,
    /// How often each event may happen.
    pub bounds: Bounds,
}

/// The protocol, or the protocol without one of its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The protocol of the emulator.
    Complete,
    /// A result is written whether or not the record has changed.
    ResultIgnoresRecord,
    /// A result is written whether or not the entry has changed.
    ResultIgnoresEntry,
    /// A result is written without a condition.
    ResultIgnoresBoth,
    /// An operation is taken over whether or not its entry has changed.
    TakeOverIgnoresEntry,
    /// The result is written first, and the entry is removed in a second change.
    EntryAfterResult,
    /// The record is written first, and the entry in a second change.
    EntryAfterRecord,
    /// The record is deleted first, and the entry in a second change.
    EntryDeletedAfterRecord,
    /// A task calls the webhook again after a change was refused.
    DecisionForgotten,
    /// A replica does not begin its own operations again if they have no task.
    OwnEntriesIgnored,
}

impl Model for TakeOver {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.progress(self.protocol));
        state.events(actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.perform(self.protocol, &self.bounds, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
