//! The conformance suite for implementations of [`Store`].

#![expect(
    clippy::expect_used,
    reason = "a test suite: it panics when a rule is broken"
)]

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Change, Expected, Notification, Store, Table};

const STORE: &str = "the store works";

/// Checks that an implementation of [`Store`] behaves as its documentation requires.
///
/// `new_store` returns an empty store at every call. The suite does not check durability, because it cannot stop the
/// process. Call it from a test of your store, on a multi-threaded runtime, so that concurrent calls really overlap:
///
/// ```
/// # use dps_emulator::store::MemoryStore;
/// #[tokio::test(flavor = "multi_thread")]
/// # async fn my_store_conforms() {}
/// # #[tokio::main]
/// # async fn main() {
/// dps_emulator::store::conformance(async || MemoryStore::new()).await;
/// # }
/// ```
///
/// # Panics
///
/// If a check fails. The message names the check and the difference.
pub async fn conformance<S: Store + 'static>(new_store: impl AsyncFn() -> S) {
    let new = async || {
        let store: Arc<dyn Store> = Arc::new(new_store().await);
        store
    };
    reads_what_was_written(new().await).await;
    put_and_delete_honour_their_condition(new().await).await;
    one_of_many_racing_creates_wins(new().await).await;
    racing_increments_are_all_counted(new().await).await;
    all_changes_or_none(new().await).await;
    conditions_are_about_the_state_before_the_call(new().await).await;
    tables_are_apart(new().await).await;
    scan_pages_through_in_byte_order(new().await).await;
    odd_keys_and_values_survive(new().await).await;
    keys_are_counted(new().await).await;
    notifications_arrive_in_order(new().await).await;
}

/// A store that several emulators share passes on messages of any length.
async fn notifications_arrive_in_order(store: Arc<dyn Store>) {
    let (Some(mut one), Some(mut other)) = (store.notifications(), store.notifications()) else {
        store.notify("without a receiver").await.expect(STORE);
        return;
    };
    let sent = [
        "short".to_owned(),
        "ü'\"\\\n".to_owned(),
        "long ".repeat(10_000),
    ];
    for message in &sent {
        store.notify(message).await.expect(STORE);
    }
    for received in [&mut one, &mut other] {
        for message in &sent {
            let next = tokio::time::timeout(Duration::from_secs(30), received.next());
            let next = next.await.expect("a notification arrives within 30 s");
            assert_eq!(next, Some(Notification::Message(message.as_str().into())));
        }
    }
}

async fn reads_what_was_written(store: Arc<dyn Store>) {
    assert_eq!(store.get(Table::Hubs, "a").await.expect(STORE), None);
    assert!(
        store
            .put(Table::Hubs, "a", Expected::Anything, b"1".to_vec())
            .await
            .expect(STORE)
    );
    assert_eq!(
        store.get(Table::Hubs, "a").await.expect(STORE).as_deref(),
        Some(&b"1"[..])
    );
    assert!(
        store
            .delete(Table::Hubs, "a", Expected::Anything)
            .await
            .expect(STORE)
    );
    assert_eq!(store.get(Table::Hubs, "a").await.expect(STORE), None);
    assert!(store.apply(&[]).await.expect(STORE));
}

async fn put_and_delete_honour_their_condition(store: Arc<dyn Store>) {
    let exactly = |value| Expected::Exactly(value);
    let put =
        |expected, value: &'static [u8]| store.put(Table::Groups, "g", expected, value.to_vec());
    assert!(
        !put(exactly(b""), b"1").await.expect(STORE),
        "absent is not empty"
    );
    assert!(put(Expected::Absent, b"1").await.expect(STORE));
    assert!(!put(Expected::Absent, b"2").await.expect(STORE));
    assert!(!put(exactly(b"2"), b"3").await.expect(STORE));
    assert!(put(exactly(b"1"), b"2").await.expect(STORE));
    assert!(
        !store
            .delete(Table::Groups, "g", exactly(b"1"))
            .await
            .expect(STORE)
    );
    assert!(
        !store
            .delete(Table::Groups, "g", Expected::Absent)
            .await
            .expect(STORE)
    );
    assert_eq!(
        store.get(Table::Groups, "g").await.expect(STORE).as_deref(),
        Some(&b"2"[..])
    );
    assert!(
        store
            .delete(Table::Groups, "g", exactly(b"2"))
            .await
            .expect(STORE)
    );
    assert!(
        store
            .delete(Table::Groups, "g", Expected::Anything)
            .await
            .expect(STORE),
        "absent already"
    );
    assert!(
        store
            .delete(Table::Groups, "g", Expected::Absent)
            .await
            .expect(STORE)
    );
}

async fn one_of_many_racing_creates_wins(store: Arc<dyn Store>) {
    for key in ["first", "second", "third"] {
        let mut racers = JoinSet::new();
        for racer in 0..32_u8 {
            let store = Arc::clone(&store);
            racers.spawn(async move {
                let won = store
                    .put(Table::Individuals, key, Expected::Absent, vec![racer])
                    .await
                    .expect(STORE);
                won.then_some(racer)
            });
        }
        let winners: Vec<u8> = racers.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(
            store.get(Table::Individuals, key).await.expect(STORE),
            Some(winners)
        );
    }
}

async fn racing_increments_are_all_counted(store: Arc<dyn Store>) {
    store
        .put(Table::Meta, "n", Expected::Absent, b"0".to_vec())
        .await
        .expect(STORE);
    let mut racers = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        racers.spawn(async move {
            let mut counted = 0;
            while counted < 10 {
                let old = store
                    .get(Table::Meta, "n")
                    .await
                    .expect(STORE)
                    .expect(STORE);
                let number = String::from_utf8(old.clone()).expect("digits");
                let number: u32 = number.parse().expect("digits");
                let new = (number + 1).to_string().into_bytes();
                counted += u32::from(
                    store
                        .put(Table::Meta, "n", Expected::Exactly(&old), new)
                        .await
                        .expect(STORE),
                );
            }
        });
    }
    racers.join_all().await;
    assert_eq!(
        store.get(Table::Meta, "n").await.expect(STORE).as_deref(),
        Some(&b"80"[..])
    );
}

async fn all_changes_or_none(store: Arc<dyn Store>) {
    let put = |key, expected, value: &[u8]| {
        Change::put(Table::Individuals, key, expected, value.to_vec())
    };
    let both = [
        put("a", Expected::Absent, b"1"),
        put("b", Expected::Absent, b"1"),
    ];
    assert!(store.apply(&both).await.expect(STORE));

    let second_fails = [
        put("a", Expected::Exactly(b"1"), b"2"),
        Change::delete(Table::Individuals, "b", Expected::Exactly(b"9")),
        put("c", Expected::Absent, b"1"),
    ];
    assert!(!store.apply(&second_fails).await.expect(STORE));
    let unchanged = [
        ("a".to_owned(), b"1".to_vec()),
        ("b".to_owned(), b"1".to_vec()),
    ];
    assert_eq!(
        store.scan(Table::Individuals, None, 9).await.expect(STORE),
        unchanged
    );

    let check_fails = [
        put("a", Expected::Anything, b"2"),
        Change::check(Table::Groups, "g", Expected::Exactly(b"enabled")),
    ];
    assert!(!store.apply(&check_fails).await.expect(STORE));
    assert!(
        store
            .put(Table::Groups, "g", Expected::Absent, b"enabled".to_vec())
            .await
            .expect(STORE)
    );
    assert!(store.apply(&check_fails).await.expect(STORE));
    assert_eq!(
        store
            .get(Table::Individuals, "a")
            .await
            .expect(STORE)
            .as_deref(),
        Some(&b"2"[..])
    );
    assert_eq!(
        store.get(Table::Groups, "g").await.expect(STORE).as_deref(),
        Some(&b"enabled"[..])
    );
}

async fn conditions_are_about_the_state_before_the_call(store: Arc<dyn Store>) {
    let put = |expected, value: &[u8]| Change::put(Table::Meta, "k", expected, value.to_vec());
    assert!(
        store
            .apply(&[put(Expected::Absent, b"1"), put(Expected::Absent, b"2")])
            .await
            .expect(STORE)
    );
    assert_eq!(
        store.get(Table::Meta, "k").await.expect(STORE).as_deref(),
        Some(&b"2"[..]),
        "the last one wins"
    );
    assert!(
        !store
            .apply(&[
                put(Expected::Anything, b"3"),
                put(Expected::Exactly(b"3"), b"4")
            ])
            .await
            .expect(STORE)
    );
}

async fn tables_are_apart(store: Arc<dyn Store>) {
    let tables = [
        Table::Individuals,
        Table::Groups,
        Table::Registrations,
        Table::Operations,
        Table::Hubs,
        Table::Meta,
    ];
    for table in tables {
        assert!(
            store
                .put(table, "same", Expected::Absent, table.name().into())
                .await
                .expect(STORE)
        );
    }
    for table in tables {
        let only = [("same".to_owned(), table.name().as_bytes().to_vec())];
        assert_eq!(store.scan(table, None, 9).await.expect(STORE), only);
        assert_eq!(store.scan(table, Some("same"), 9).await.expect(STORE), []);
    }
}

async fn scan_pages_through_in_byte_order(store: Arc<dyn Store>) {
    let keys =
        |page: Vec<(String, Vec<u8>)>| page.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(
        store.scan(Table::Operations, None, 5).await.expect(STORE),
        []
    );
    for key in ["b", "Z", "a10", "é", "a2", "", "a", "\u{10000}", "\u{ffff}"] {
        store
            .put(Table::Operations, key, Expected::Absent, key.into())
            .await
            .expect(STORE);
    }
    let sorted = ["", "Z", "a", "a10", "a2", "b", "é", "\u{ffff}", "\u{10000}"];
    assert_eq!(
        keys(
            store
                .scan(Table::Operations, None, usize::MAX)
                .await
                .expect(STORE)
        ),
        sorted
    );
    assert_eq!(
        keys(store.scan(Table::Operations, None, 0).await.expect(STORE)),
        [""; 0]
    );
    assert_eq!(
        keys(store.scan(Table::Operations, None, 2).await.expect(STORE)),
        sorted[..2]
    );
    assert_eq!(
        keys(
            store
                .scan(Table::Operations, Some(""), 2)
                .await
                .expect(STORE)
        ),
        sorted[1..3]
    );
    assert_eq!(
        keys(
            store
                .scan(Table::Operations, Some("a1"), 2)
                .await
                .expect(STORE)
        ),
        sorted[3..5],
        "an absent key"
    );
    assert_eq!(
        keys(
            store
                .scan(Table::Operations, Some("\u{10000}"), 2)
                .await
                .expect(STORE)
        ),
        [""; 0]
    );

    let mut seen = Vec::new();
    loop {
        let page = keys(
            store
                .scan(Table::Operations, seen.last().map(String::as_str), 4)
                .await
                .expect(STORE),
        );
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, sorted);
}

async fn odd_keys_and_values_survive(store: Arc<dyn Store>) {
    let large: Vec<u8> = (0..5 << 20).map(|n: u32| (n % 251) as u8).collect();
    let long_key = "k".repeat(10_000);
    for (key, value) in [
        ("", &b"empty key"[..]),
        ("empty value", b""),
        ("nul\0nul", b"\0"),
        ("設備-✓", &large),
        (&long_key, b"x"),
    ] {
        assert!(
            store
                .put(Table::Registrations, key, Expected::Absent, value.to_vec())
                .await
                .expect(STORE)
        );
        assert!(
            store
                .get(Table::Registrations, key)
                .await
                .expect(STORE)
                .as_deref()
                == Some(value)
        );
        assert!(
            store
                .put(
                    Table::Registrations,
                    key,
                    Expected::Exactly(value),
                    value.to_vec()
                )
                .await
                .expect(STORE)
        );
    }
}

async fn keys_are_counted(store: Arc<dyn Store>) {
    assert_eq!(store.count(Table::Groups).await.expect(STORE), 0);
    let put = |key| Change::put(Table::Groups, key, Expected::Anything, vec![]);
    let other = Change::put(Table::Hubs, "d", Expected::Anything, vec![]);
    assert!(
        store
            .apply(&[put("a"), put("b"), put("a"), put("c"), other])
            .await
            .expect(STORE)
    );
    assert_eq!(store.count(Table::Groups).await.expect(STORE), 3);
    let gone = [
        Change::delete(Table::Groups, "a", Expected::Anything),
        put("b"),
    ];
    assert!(store.apply(&gone).await.expect(STORE));
    assert_eq!(store.count(Table::Groups).await.expect(STORE), 2);
}
