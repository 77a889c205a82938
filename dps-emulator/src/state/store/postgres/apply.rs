//! Changes several keys atomically: locks and checks the keys in one round trip, and commits in a second one.
//!
//! Every key that has a condition or is changed is locked until the commit. An absent key is locked by inserting it. All callers
//! lock in the order of the keys, so two of them never wait for each other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::super::{Action, Change, Expected};
use super::failure::Failure;
use super::pipeline::{self, Request};
use super::pool::Operation;
use super::session::Session;

/// The counter of a table has this number of rows, so that concurrent inserts rarely wait for each other.
const SHARDS: u64 = 32;

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// The value of a key that is inserted only to lock it. It is deleted before the commit.
const PLACEHOLDER: &[u8] = b"";

/// The changes, one for each key, in the order of the keys.
pub(super) struct Apply<'a> {
    steps: Vec<Step<'a>>,
    shard: i16,
}

struct Step<'a> {
    key: Key<'a>,
    expected: Expected<'a>,
    action: &'a Action,
}

/// A key with its table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    table: &'static str,
    key: &'a str,
}

impl<'a> Apply<'a> {
    /// `None` if two conditions on a key contradict each other, so that they cannot hold. `random` selects the rows that count.
    pub(super) fn new(changes: &'a [Change<'a>], random: u64) -> Option<Self> {
        let mut steps = BTreeMap::new();
        for change in changes {
            let key = Key {
                table: change.table.name(),
                key: change.key,
            };
            match steps.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert((change.expected, &change.action));
                }
                Entry::Occupied(mut entry) => {
                    let (expected, action) = entry.get_mut();
                    *expected = both(*expected, change.expected)?;
                    if change.action != Action::Keep {
                        *action = &change.action;
                    }
                }
            }
        }
        let steps = steps.into_iter().map(|(key, (expected, action))| Step {
            key,
            expected,
            action,
        });
        Some(Self {
            steps: steps.filter(|step| !step.is_empty()).collect(),
            shard: (random % SHARDS) as i16,
        })
    }
}

/// The condition that holds if both do.
fn both<'a>(one: Expected<'a>, other: Expected<'a>) -> Option<Expected<'a>> {
    match (one, other) {
        (Expected::Anything, it) | (it, Expected::Anything) => Some(it),
        (one, other) => (one == other).then_some(one),
    }
}

impl Operation for Apply<'_> {
    type Output = bool;
    const CHANGES: bool = true;

    async fn run(&self, session: &Session) -> Result<bool, Failure> {
        let alone = match &*self.steps {
            [] => return Ok(true),
            [step] => !step.counts(),
            _ => false,
        };
        let locks = self.steps.iter().map(|step| step.lock(session));
        if alone {
            let rows = pipeline::send(locks.collect()).await?;
            return Ok(self.hold(&rows));
        }
        let begin = std::iter::once(session.command(BEGIN));
        let rows = match pipeline::send(begin.chain(locks).collect()).await {
            Ok(rows) => rows,
            Err(error) => {
                session.roll_back(&error).await;
                return Err(error.into());
            }
        };
        let rows = rows.get(1..).unwrap_or_default();
        if !self.hold(rows) {
            session.client.batch_execute(ROLLBACK).await?;
            return Ok(false);
        }
        let mut requests: Vec<Request<'_>> = self
            .steps
            .iter()
            .zip(rows)
            .filter_map(|(step, rows)| step.finish(*rows, session))
            .collect();
        for (table, change) in self.counted(rows) {
            requests.push(session.count(table, self.shard, change));
        }
        requests.push(session.command(COMMIT));
        match pipeline::send(requests).await {
            Ok(_) => Ok(true),
            Err(error) => {
                session.roll_back(&error).await;
                Err(error.into())
            }
        }
    }
}

impl Apply<'_> {
    /// Whether all conditions hold: each statement with a condition has found its row.
    fn hold(&self, rows: &[u64]) -> bool {
        let mut steps = self.steps.iter().zip(rows);
        steps.all(|(step, rows)| step.expected == Expected::Anything || *rows == 1)
    }

    /// By how much the number of keys in each table changes, in the order of the tables.
    fn counted(&self, rows: &[u64]) -> BTreeMap<&'static str, i64> {
        let mut counted = BTreeMap::new();
        for (step, rows) in self.steps.iter().zip(rows) {
            let change = match (step.expected, step.action) {
                (Expected::Absent | Expected::Anything, Action::Put(_)) if *rows == 1 => 1,
                (Expected::Exactly(_) | Expected::Anything, Action::Delete) if *rows == 1 => -1,
                _ => 0,
            };
            *counted.entry(step.key.table).or_default() += change;
        }
        counted.retain(|_, change| *change != 0);
        counted
    }
}

impl Step<'_> {
    /// Whether there is nothing to check and nothing to do.
    fn is_empty(&self) -> bool {
        self.expected == Expected::Anything && *self.action == Action::Keep
    }

    /// Whether it may change the number of keys, or requires more than one statement.
    fn counts(&self) -> bool {
        !matches!(
            (self.expected, self.action),
            (Expected::Exactly(_), Action::Put(_) | Action::Keep)
        )
    }

    /// The statement that locks the key and checks its condition. It also makes the change where it can.
    fn lock<'s>(&'s self, session: &'s Session) -> Request<'s> {
        let Key { table, key } = self.key;
        let key = key.as_bytes();
        let statements = &session.statements;
        match (self.expected, self.action) {
            (Expected::Absent, Action::Put(value)) => {
                session.on_key(&statements.create, table, key, [value])
            }
            (Expected::Absent, Action::Delete | Action::Keep) => {
                session.on_key(&statements.create, table, key, [PLACEHOLDER])
            }
            (Expected::Exactly(old), Action::Put(value)) => {
                session.on_key(&statements.replace, table, key, [old, value])
            }
            (Expected::Exactly(old), Action::Delete) => {
                session.on_key(&statements.delete_exactly, table, key, [old])
            }
            (Expected::Exactly(old), Action::Keep) => {
                session.on_key(&statements.hold, table, key, [old])
            }
            (Expected::Anything, Action::Put(value)) => {
                session.on_key(&statements.create_or_lock, table, key, [value])
            }
            (Expected::Anything, Action::Delete | Action::Keep) => {
                session.on_key(&statements.delete, table, key, [])
            }
        }
    }

    /// The statement that completes the change, after `lock` has reported this number of rows.
    fn finish<'s>(&'s self, rows: u64, session: &'s Session) -> Option<Request<'s>> {
        let Key { table, key } = self.key;
        let key = key.as_bytes();
        let statements = &session.statements;
        match (self.expected, self.action) {
            (Expected::Absent, Action::Delete | Action::Keep) => {
                Some(session.on_key(&statements.delete, table, key, []))
            }
            (Expected::Anything, Action::Put(value)) if rows == 0 => {
                Some(session.on_key(&statements.write, table, key, [value]))
            }
            _ => None,
        }
    }
}
