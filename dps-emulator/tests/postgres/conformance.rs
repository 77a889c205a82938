//! The suite of every store, and a comparison with the store in memory.

use std::sync::Arc;

use dps_emulator::store::{Action, Change, Expected, MemoryStore, Store, Table, conformance};
use proptest::prelude::*;
use tokio::runtime::Builder;

use crate::server::{connect, new_url};

#[tokio::test(flavor = "multi_thread")]
async fn the_postgres_store_conforms() {
    conformance(async || connect(&new_url("")).await).await;
}

/// With one connection, every call waits for the one before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_one_connection_conforms() {
    conformance(async || connect(&new_url("&max_connections=1")).await).await;
}

const KEYS: [&str; 6] = ["", "a", "a\0", "b", "é", "設備"];

#[derive(Debug, Clone)]
struct Step {
    table: Table,
    key: &'static str,
    expected: Expected<'static>,
    action: Action,
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let tables = prop::sample::select(vec![Table::Individuals, Table::Groups]);
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
    let step = (tables, prop::sample::select(&KEYS[..]), expected, action);
    let step = step.prop_map(|(table, key, expected, action)| Step {
        table,
        key,
        expected,
        action,
    });
    prop::collection::vec(prop::collection::vec(step, 0..4), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_behaves_as_the_store_in_memory(batches in steps()) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let memory = MemoryStore::new();
            let postgres: Arc<dyn Store> = Arc::new(connect(&new_url("&max_connections=1")).await);
            for batch in batches {
                let changes: Vec<_> = batch.iter().map(|step| {
                    let mut change = Change::put(step.table, step.key, step.expected, Vec::new());
                    change.action = step.action.clone();
                    change
                }).collect();
                let expected = memory.apply(&changes).await.unwrap();
                assert_eq!(postgres.apply(&changes).await.unwrap(), expected, "{changes:?}");
                for table in [Table::Individuals, Table::Groups] {
                    let all = memory.scan(table, None, 99).await.unwrap();
                    assert_eq!(postgres.scan(table, None, 99).await.unwrap(), all);
                    assert_eq!(postgres.count(table).await.unwrap(), all.len() as u64);
                    let page = memory.scan(table, Some("a"), 2).await.unwrap();
                    assert_eq!(postgres.scan(table, Some("a"), 2).await.unwrap(), page);
                }
            }
        });
    }
}
