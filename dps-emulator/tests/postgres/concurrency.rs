//! Several emulators that write to one database at the same time.

use std::sync::Arc;
use std::time::Duration;

use dps_emulator::store::{Change, Expected, PostgresStore, Store, Table};
use tokio::task::JoinSet;

use crate::server::{Admin, connect, new_url, shared};

const STORE: &str = "the store works";

/// Stores with pools of their own on one schema.
async fn replicas(number: usize) -> Vec<Arc<PostgresStore>> {
    let url = new_url("&max_connections=4");
    let mut opening = JoinSet::new();
    for _ in 0..number {
        let url = url.clone();
        opening.spawn(async move { Arc::new(connect(&url).await) });
    }
    opening.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn emulators_that_start_at_once_create_the_tables_once() {
    let stores = replicas(8).await;
    for (number, store) in stores.iter().enumerate() {
        let key = number.to_string();
        assert!(
            store
                .put(Table::Meta, &key, Expected::Absent, vec![])
                .await
                .unwrap()
        );
    }
    for store in &stores {
        assert_eq!(store.count(Table::Meta).await.unwrap(), 8);
    }
}

/// Each round, every task adds 1 to two counters in one call, in either order. A lost update would make them too small, and a
/// deadlock would take a second each.
#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost() {
    const TASKS: u64 = 8;
    const ROUNDS: u64 = 15;
    let stores = replicas(3).await;
    for key in ["a", "b"] {
        assert!(
            stores[0]
                .put(Table::Meta, key, Expected::Absent, b"0".to_vec())
                .await
                .unwrap()
        );
    }
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&stores[task as usize % stores.len()]);
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                while !add_one(&store, task % 2 == 0).await {}
            }
        });
    }
    tasks.join_all().await;
    for key in ["a", "b"] {
        let value = stores[1].get(Table::Meta, key).await.unwrap();
        assert_eq!(value, Some((TASKS * ROUNDS).to_string().into_bytes()));
    }
}

async fn add_one(store: &PostgresStore, forward: bool) -> bool {
    let a = store
        .get(Table::Meta, "a")
        .await
        .expect(STORE)
        .expect("the counter");
    let b = store
        .get(Table::Meta, "b")
        .await
        .expect(STORE)
        .expect("the counter");
    let next = |value: &[u8]| {
        let number: u64 = std::str::from_utf8(value)
            .ok()
            .and_then(|it| it.parse().ok())
            .expect("a number");
        (number + 1).to_string().into_bytes()
    };
    let mut changes = [
        Change::put(Table::Meta, "a", Expected::Exactly(&a), next(&a)),
        Change::put(Table::Meta, "b", Expected::Exactly(&b), next(&b)),
    ];
    if !forward {
        changes.reverse();
    }
    store.apply(&changes).await.expect(STORE)
}

/// Two calls check a key that the other one changes. At most one of them may succeed.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_prevents_write_skew() {
    let stores = replicas(2).await;
    for round in 0..40 {
        let (on_call_1, on_call_2) = (format!("{round}-1"), format!("{round}-2"));
        for key in [&on_call_1, &on_call_2] {
            assert!(
                stores[0]
                    .put(Table::Groups, key, Expected::Absent, b"on".to_vec())
                    .await
                    .unwrap()
            );
        }
        let leave = |store: Arc<PostgresStore>, own: String, other: String| async move {
            let changes = [
                Change::put(
                    Table::Groups,
                    &own,
                    Expected::Exactly(b"on"),
                    b"off".to_vec(),
                ),
                Change::check(Table::Groups, &other, Expected::Exactly(b"on")),
            ];
            store.apply(&changes).await.unwrap()
        };
        let one = leave(Arc::clone(&stores[0]), on_call_1.clone(), on_call_2.clone());
        let other = leave(Arc::clone(&stores[1]), on_call_2, on_call_1);
        let (one, other) = tokio::join!(tokio::spawn(one), tokio::spawn(other));
        assert_eq!(u8::from(one.unwrap()) + u8::from(other.unwrap()), 1);
    }
}

/// The same with keys that are absent, which a row lock does not cover.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_an_absent_key_prevents_its_creation() {
    let stores = replicas(2).await;
    for round in 0..40 {
        let (a, b) = (format!("{round}-a"), format!("{round}-b"));
        let create = |store: Arc<PostgresStore>, own: String, other: String| async move {
            let changes = [
                Change::check(Table::Groups, &other, Expected::Absent),
                Change::put(Table::Groups, &own, Expected::Absent, vec![]),
            ];
            store.apply(&changes).await.unwrap()
        };
        let one = create(Arc::clone(&stores[0]), a.clone(), b.clone());
        let other = create(Arc::clone(&stores[1]), b, a);
        let (one, other) = tokio::join!(tokio::spawn(one), tokio::spawn(other));
        assert_eq!(u8::from(one.unwrap()) + u8::from(other.unwrap()), 1);
    }
    let keys = stores[0].scan(Table::Groups, None, 999).await.unwrap();
    assert_eq!(keys.len(), 40, "no key that was only checked is left");
    assert_eq!(stores[0].count(Table::Groups).await.unwrap(), 40);
}

/// Many devices of one group register at once: each call checks the group, and none waits for another one.
#[tokio::test(flavor = "multi_thread")]
async fn checks_of_one_key_do_not_wait_for_each_other() {
    let url = new_url("");
    let store = connect(&url).await;
    assert!(
        store
            .put(Table::Groups, "g", Expected::Absent, b"1".to_vec())
            .await
            .unwrap()
    );
    let admin = shared().admin().await;
    hold(&admin, url.schema(), "FOR SHARE").await;
    let register = [
        Change::check(Table::Groups, "g", Expected::Exactly(b"1")),
        Change::put(Table::Registrations, "d", Expected::Absent, vec![]),
    ];
    assert!(store.apply(&register).await.unwrap());
}

/// A caller that gives up in the middle leaves no transaction open: its locks end with its connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_makes_no_change_and_releases_its_locks() {
    let url = new_url("&max_connections=2");
    let store = connect(&url).await;
    for key in ["a", "b"] {
        assert!(
            store
                .put(Table::Groups, key, Expected::Absent, b"1".to_vec())
                .await
                .unwrap()
        );
    }
    let admin = shared().admin().await;
    hold(&admin, url.schema(), "FOR UPDATE").await;
    let changes = [
        Change::put(Table::Groups, "a", Expected::Exactly(b"1"), b"2".to_vec()),
        Change::put(Table::Groups, "g", Expected::Anything, b"2".to_vec()),
        Change::put(Table::Groups, "b", Expected::Exactly(b"1"), b"2".to_vec()),
    ];
    let cut = tokio::time::timeout(Duration::from_millis(300), store.apply(&changes)).await;
    assert!(cut.is_err(), "the key is locked");
    admin.execute("ROLLBACK").await;
    let unchanged = [
        Change::put(Table::Groups, "a", Expected::Exactly(b"1"), b"3".to_vec()),
        Change::put(Table::Groups, "b", Expected::Exactly(b"1"), b"3".to_vec()),
    ];
    assert!(store.apply(&unchanged).await.unwrap());
}

/// Locks the row of the group `g` in a transaction of its own. Creates it if it does not exist.
async fn hold(admin: &Admin, schema: &str, lock: &str) {
    admin
        .execute(&format!(
            "INSERT INTO {schema}.dps_record VALUES ('groups', 'g', '1') ON CONFLICT DO NOTHING;
             BEGIN;
             SELECT 1 FROM {schema}.dps_record WHERE tbl = 'groups' AND key = 'g' {lock}"
        ))
        .await;
}
