//! Messages between stores on one database.

use dps_emulator::store::{Notification, Notifications, PostgresStore, PostgresUrl, Store};
use tokio::time::{Duration, timeout};

use crate::proxy::{Cut, Proxy};
use crate::server::{Server, connect, new_schema, new_url, parse, shared};

const STORE: &str = "the store works";

async fn next(received: &mut Notifications) -> Notification {
    let next = timeout(Duration::from_secs(60), received.next()).await;
    next.expect("a message in time").expect("the store exists")
}

fn message(text: &str) -> Notification {
    Notification::Message(text.into())
}

async fn both(url: &PostgresUrl) -> [PostgresStore; 2] {
    [connect(url).await, connect(url).await]
}

fn subscribe(store: &PostgresStore) -> Notifications {
    store.notifications().expect("others can use the database")
}

/// Short and long messages are received in order by every store, the sender's included.
async fn messages_arrive_in_order(url: &PostgresUrl) {
    let [one, other] = both(url).await;
    let mut received = [subscribe(&one), subscribe(&other)];
    let messages = [
        "a".to_owned(),
        String::new(),
        "é'\"\\ =#1".to_owned(),
        "x".repeat(7998),
        "é".repeat(4000),
        "y".repeat(1 << 20),
        "#7".to_owned(),
        "last".to_owned(),
    ];
    for text in &messages {
        one.notify(text).await.expect(STORE);
    }
    for received in &mut received {
        for text in &messages {
            assert!(next(received).await == message(text), "{}", text.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_at_every_store_in_order() {
    messages_arrive_in_order(&new_url("")).await;
}

/// A database without LISTEN: the proxy makes the command one that the server refuses.
#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_without_listen() {
    let (proxy, url) = behind_proxy().await;
    proxy.set(Cut::NoListen);
    messages_arrive_in_order(&url).await;
    let query = format!("SELECT count(*) FROM {}.dps_notification", url.schema());
    let row = shared().admin().await.client.query_one(&query, &[]).await;
    assert_eq!(
        row.expect(STORE).get::<_, i64>(0),
        8,
        "short messages are rows as well"
    );
    let [one, other] = both(&url).await;
    // A message from before is not received.
    let mut received = subscribe(&other);
    one.notify("new").await.expect(STORE);
    assert_eq!(next(&mut received).await, message("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_apart() {
    let (one, other) = (connect(&new_url("")).await, connect(&new_url("")).await);
    let mut received = subscribe(&other);
    one.notify("for the first schema").await.expect(STORE);
    other.notify("for the second schema").await.expect(STORE);
    assert_eq!(next(&mut received).await, message("for the second schema"));
}

async fn behind_proxy() -> (Proxy, PostgresUrl) {
    let proxy = Proxy::start(shared().port()).await;
    let url = shared().url(&format!("sslmode=disable&schema={}", new_schema()));
    let url = url.replace(
        &format!(":{}/", shared().port()),
        &format!(":{}/", proxy.port),
    );
    (proxy, parse(&url))
}

/// A receiver learns that it may have missed messages, and receives later ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_reported_as_missed_messages() {
    let server = Server::start(&[]);
    let url = parse(&server.url("timeout=60"));
    let [one, other] = both(&url).await;
    let mut received = subscribe(&other);
    one.notify("before").await.expect(STORE);
    assert_eq!(next(&mut received).await, message("before"));
    server.command("restart").await;
    assert_eq!(next(&mut received).await, Notification::Missed);
    one.notify("after").await.expect(STORE);
    assert_eq!(next(&mut received).await, message("after"));
}

/// Messages of the last minute are kept, for receivers that poll; older ones are deleted.
#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_deleted() {
    let url = new_url("");
    drop(connect(&url).await);
    let admin = shared().admin().await;
    let table = format!("{}.dps_notification", url.schema());
    admin
        .execute(&format!(
            "INSERT INTO {table} (created, payload)
             VALUES (now() - interval '2 minutes', 'old'), (now() - interval '30 seconds', 'new')"
        ))
        .await;
    // A receiver deletes when it starts.
    let _store = connect(&url).await;
    let query = format!("SELECT string_agg(payload, ',') FROM {table}");
    let kept = timeout(Duration::from_secs(60), async {
        loop {
            let row = admin.client.query_one(&query, &[]).await.expect(STORE);
            let kept: String = row.get(0);
            if kept != "old,new" {
                return kept;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(kept.await.expect("it is deleted"), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_end_with_the_store() {
    let store = connect(&new_url("")).await;
    let mut received = subscribe(&store);
    drop(store);
    let end = timeout(Duration::from_secs(60), received.next()).await;
    assert_eq!(end.expect("it ends"), None);
}
