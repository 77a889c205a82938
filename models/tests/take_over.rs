//! Checks the protocol of the take-over, and that the checker finds the fault of each weakened protocol.

use std::collections::{BTreeSet, HashMap};

use dps_models::take_over::properties::{
    ALL_END, CALLS, ENTRY_AGREES, LATEST_KEY, NONE_LOST, ONE_IDENTITY, ONE_RESULT, OWNER_WRITES,
};
use dps_models::take_over::{Bounds, Protocol, State, TakeOver};
use stateright::{Checker, Expectation, Model};

/// One device, and no event.
const QUIET: Bounds = Bounds {
    devices: 1,
    registrations: 1,
    deletions: 0,
    crashes: 0,
    mistakes: 0,
    errors: 0,
};

/// Two registrations of a device, a crash, and a live owner that is taken for dead.
const USUAL: Bounds = Bounds {
    registrations: 2,
    crashes: 1,
    mistakes: 1,
    ..QUIET
};

fn check(protocol: Protocol, bounds: Bounds) -> impl Checker<TakeOver> {
    let checker = TakeOver { bounds, protocol }.checker();
    let checker = checker.symmetry_fn(State::in_order).spawn_dfs().join();
    println!(
        "{protocol:?} {bounds:?}: {} states, the longest run has {} steps",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker
}

/// Asserts that nothing happens that must not happen. The panic of a failure has the steps that lead to it.
fn assert_holds(bounds: Bounds) {
    let checker = check(Protocol::Complete, bounds);
    for property in checker.model().properties() {
        if property.expectation == Expectation::Always {
            checker.assert_no_discovery(property.name);
        }
    }
}

/// The properties that the weakened protocol breaks.
fn broken(protocol: Protocol, bounds: Bounds) -> BTreeSet<&'static str> {
    let checker = check(protocol, bounds);
    let found = checker.discoveries().into_keys();
    found
        .filter(|name| checker.model().property(name).expectation == Expectation::Always)
        .collect()
}

#[test]
fn the_protocol_holds_and_every_kind_of_event_occurs() {
    check(Protocol::Complete, USUAL).assert_properties();
}

#[test]
fn the_protocol_holds_when_the_record_is_deleted() {
    let deleted = Bounds {
        deletions: 1,
        ..USUAL
    };
    assert_holds(Bounds {
        crashes: 0,
        ..deleted
    });
    assert_holds(Bounds {
        mistakes: 0,
        ..deleted
    });
}

#[test]
fn the_protocol_holds_when_results_of_changes_are_unknown() {
    assert_holds(Bounds {
        registrations: 1,
        errors: 1,
        ..USUAL
    });
    assert_holds(Bounds {
        mistakes: 0,
        errors: 1,
        ..USUAL
    });
}

#[test]
fn the_protocol_holds_when_owners_crash_and_are_taken_for_dead_repeatedly() {
    assert_holds(Bounds {
        registrations: 1,
        crashes: 2,
        mistakes: 2,
        ..USUAL
    });
}

#[test]
fn the_protocol_holds_when_all_replicas_crash() {
    assert_holds(Bounds {
        registrations: 1,
        crashes: 3,
        mistakes: 0,
        ..USUAL
    });
}

#[test]
fn the_protocol_holds_for_three_registrations_of_a_device() {
    let three = Bounds {
        registrations: 3,
        ..USUAL
    };
    assert_holds(Bounds {
        crashes: 0,
        ..three
    });
    assert_holds(Bounds {
        mistakes: 0,
        ..three
    });
}

#[test]
fn the_protocol_holds_for_two_devices() {
    let two = Bounds {
        devices: 2,
        ..USUAL
    };
    assert_holds(Bounds { crashes: 0, ..two });
    assert_holds(Bounds { mistakes: 0, ..two });
}

/// With the operation in the entry, the condition on the entry keeps results unique; it does not protect a newer registration.
#[test]
fn a_result_that_ignores_the_record_overwrites_a_newer_registration() {
    let broken = broken(
        Protocol::ResultIgnoresRecord,
        Bounds {
            crashes: 0,
            ..USUAL
        },
    );
    assert_eq!(broken, BTreeSet::from([LATEST_KEY]));
}

/// The condition on the record keeps results unique; it does not keep a stale owner from writing its result.
#[test]
fn a_result_that_ignores_the_entry_is_written_by_a_stale_owner() {
    let broken = broken(
        Protocol::ResultIgnoresEntry,
        Bounds {
            crashes: 0,
            ..USUAL
        },
    );
    assert_eq!(broken, BTreeSet::from([OWNER_WRITES]));
}

#[test]
fn a_result_without_a_condition_is_written_twice() {
    let broken = broken(
        Protocol::ResultIgnoresBoth,
        Bounds {
            crashes: 0,
            ..USUAL
        },
    );
    let expected = [
        ONE_RESULT,
        OWNER_WRITES,
        LATEST_KEY,
        ONE_IDENTITY,
        NONE_LOST,
    ];
    assert_eq!(broken, BTreeSet::from(expected));
}

#[test]
fn a_take_over_that_ignores_the_entry_takes_an_operation_that_has_ended() {
    let broken = broken(
        Protocol::TakeOverIgnoresEntry,
        Bounds {
            crashes: 0,
            ..USUAL
        },
    );
    assert_eq!(broken, BTreeSet::from([ENTRY_AGREES]));
}

/// A crash between the changes leaves an entry without an operation, which replicas read again and again.
#[test]
fn an_entry_that_is_removed_after_the_result_may_stay() {
    let bounds = Bounds {
        mistakes: 0,
        ..USUAL
    };
    let broken = broken(Protocol::EntryAfterResult, bounds);
    assert_eq!(broken, BTreeSet::from([ENTRY_AGREES]));
    assert!(!every_run_ends(Protocol::EntryAfterResult, bounds));
}

/// A crash between the changes leaves a registration that no replica finds, and that later registrations join.
#[test]
fn an_entry_that_is_written_after_the_record_loses_a_registration() {
    let broken = broken(
        Protocol::EntryAfterRecord,
        Bounds {
            mistakes: 0,
            ..USUAL
        },
    );
    assert_eq!(broken, BTreeSet::from([ENTRY_AGREES, ALL_END]));
}

/// The second change removes the entry of the registration that came in between.
#[test]
fn an_entry_that_is_deleted_after_the_record_loses_the_next_registration() {
    let bounds = Bounds {
        deletions: 1,
        crashes: 0,
        mistakes: 0,
        ..USUAL
    };
    let broken = broken(Protocol::EntryDeletedAfterRecord, bounds);
    assert_eq!(broken, BTreeSet::from([ENTRY_AGREES, ALL_END, CALLS]));
}

/// The change was made, and the replica received an error: no other replica has a reason to take the operation over.
#[test]
fn an_own_entry_that_is_ignored_is_a_registration_that_does_not_end() {
    let broken = broken(Protocol::OwnEntriesIgnored, Bounds { errors: 1, ..QUIET });
    assert_eq!(broken, BTreeSet::from([ALL_END]));
}

#[test]
fn a_decision_that_is_forgotten_calls_the_webhook_again() {
    let bounds = Bounds {
        crashes: 0,
        mistakes: 0,
        ..USUAL
    };
    let broken = broken(Protocol::DecisionForgotten, bounds);
    assert_eq!(broken, BTreeSet::from([CALLS]));
}

/// [`ALL_END`] is judged at the end of a run.
#[test]
fn every_run_of_the_protocol_ends() {
    assert!(every_run_ends(Protocol::Complete, USUAL));
    assert!(every_run_ends(
        Protocol::Complete,
        Bounds {
            mistakes: 0,
            errors: 1,
            ..USUAL
        }
    ));
}

/// Whether no state can be reached from itself.
fn every_run_ends(protocol: Protocol, bounds: Bounds) -> bool {
    let model = TakeOver { protocol, bounds };
    let mut numbers = HashMap::new();
    let mut states = Vec::new();
    let mut number = |state: &State, states: &mut Vec<State>| {
        *numbers.entry(state.in_order()).or_insert_with_key(|state| {
            states.push(state.clone());
            states.len() - 1
        })
    };
    for state in model.init_states() {
        number(&state, &mut states);
    }
    let mut followers: Vec<Vec<usize>> = Vec::new();
    while let Some(state) = states.get(followers.len()) {
        let next = model.next_states(state);
        followers.push(next.iter().map(|it| number(it, &mut states)).collect());
    }

    // Removes the states that no other state leads to, until only cycles and what follows them are left.
    let mut leading = vec![0_usize; states.len()];
    for &to in followers.iter().flatten() {
        leading[to] += 1;
    }
    let mut free: Vec<usize> = (0..states.len()).filter(|&at| leading[at] == 0).collect();
    let mut removed = 0;
    while let Some(at) = free.pop() {
        removed += 1;
        for &to in &followers[at] {
            leading[to] -= 1;
            if leading[to] == 0 {
                free.push(to);
            }
        }
    }
    removed == states.len()
}
