//! Property test: every store behaves as an ordered map.

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use super::super::{Action, Change, Expected, MemoryStore, Store, Table};
use super::open;

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<ModelChange>),
    Scan(Table, Option<&'static str>, usize),
    Reopen,
}

#[derive(Debug, Clone)]
struct ModelChange {
    table: Table,
    key: &'static str,
    expected: Expected<'static>,
    action: Action,
}

const KEYS: [&str; 6] = ["", "a", "a\0", "b", "é", "設備"];

fn step() -> impl Strategy<Value = Step> {
    let tables = || prop::sample::select(vec![Table::Individuals, Table::Groups]);
    let values = || prop::sample::select(vec![&b""[..], b"1", b"2"]);
    let expected = prop_oneof![
        2 => Just(Expected::Anything),
        1 => Just(Expected::Absent),
        1 => values().prop_map(Expected::Exactly),
    ];
    let action = prop_oneof![
        3 => values().prop_map(|value| Action::Put(value.to_vec())),
        1 => Just(Action::Delete),
        1 => Just(Action::Keep),
    ];
    let change = (tables(), prop::sample::select(&KEYS[..]), expected, action).prop_map(
        |(table, key, expected, action)| ModelChange {
            table,
            key,
            expected,
            action,
        },
    );
    let after = prop::option::of(prop::sample::select(&KEYS[..]));
    prop_oneof![
        12 => prop::collection::vec(change, 0..4).prop_map(Step::Apply),
        6 => (tables(), after, 0..8_usize).prop_map(|(table, after, limit)| Step::Scan(table, after, limit)),
        1 => Just(Step::Reopen),
    ]
}

type Model = BTreeMap<(&'static str, String), Vec<u8>>;

fn model_apply(model: &mut Model, changes: &[ModelChange]) -> bool {
    let current = |change: &ModelChange| model.get(&(change.table.name(), change.key.to_owned()));
    let holds = changes.iter().all(|change| match change.expected {
        Expected::Anything => true,
        Expected::Absent => current(change).is_none(),
        Expected::Exactly(value) => current(change).is_some_and(|current| current == value),
    });
    for change in changes.iter().filter(|_| holds) {
        let key = (change.table.name(), change.key.to_owned());
        match &change.action {
            Action::Put(value) => drop(model.insert(key, value.clone())),
            Action::Delete => drop(model.remove(&key)),
            Action::Keep => {}
        }
    }
    holds
}

fn model_scan(
    model: &Model,
    table: Table,
    after: Option<&str>,
    limit: usize,
) -> Vec<(String, Vec<u8>)> {
    let start = match after {
        Some(after) => Bound::Excluded((table.name(), after.to_owned())),
        None => Bound::Included((table.name(), String::new())),
    };
    let rest = model
        .range((start, Bound::Unbounded))
        .take_while(|((name, _), _)| *name == table.name());
    rest.take(limit)
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_store_behaves_as_an_ordered_map(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("registry.redb");
            let memory = MemoryStore::new();
            let mut file = Some(open(&path).await);
            let mut model = Model::new();
            for step in steps {
                let redb = file.as_ref().unwrap();
                match step {
                    Step::Apply(changes) => {
                        let expected = model_apply(&mut model, &changes);
                        let changes: Vec<_> = changes
                            .iter()
                            .map(|c| Change { table: c.table, key: c.key, expected: c.expected, action: c.action.clone() })
                            .collect();
                        assert_eq!(memory.apply(&changes).await.unwrap(), expected);
                        assert_eq!(redb.apply(&changes).await.unwrap(), expected);
                    }
                    Step::Scan(table, after, limit) => {
                        let expected = model_scan(&model, table, after, limit);
                        assert_eq!(memory.scan(table, after, limit).await.unwrap(), expected);
                        assert_eq!(redb.scan(table, after, limit).await.unwrap(), expected);
                    }
                    Step::Reopen => {
                        drop(file.take());
                        file = Some(open(&path).await);
                    }
                }
            }
        });
    }
}
