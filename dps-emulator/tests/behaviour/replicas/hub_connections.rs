//! A device has one connection to its hub, at any replica, and receives what other replicas send to it.

use std::collections::BTreeSet;
use std::time::Duration;

use dps_emulator::{CloudToDeviceMessage, DirectMethod, ErrorKind, HubHandle};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::replicas;
use crate::common::{
    Client, Connect, DESIRED, Database, Dps, KEY_1, PINGREQ, PINGRESP, TIMEOUT, Tls, publish,
};

const METHODS: &str = "$iothub/methods/POST/#";
const MESSAGES: &str = "devices/dev-1/messages/devicebound/#";

/// Replicas with the device `dev-1`, which is assigned to a hub.
async fn with_assigned<const N: usize>(database: &Database) -> [Dps; N] {
    let all: [Dps; N] = replicas(database).await;
    all[0].enroll("dev-1").await;
    all[0].still_serves().await;
    all
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, waiting).await.expect(what);
}

#[tokio::test]
async fn a_device_that_connects_to_another_replica_loses_its_older_connection() {
    let [one, other] = with_assigned(&Database::default()).await;
    let mut first = one.at_hub().await;
    let mut second = other.at_hub().await;
    first.closed().await;
    assert!(!one.default_hub().is_connected("dev-1"));
    assert!(other.default_hub().is_connected("dev-1"));
    let mut third = one.at_hub().await;
    second.closed().await;
    third.twin().await;
}

#[tokio::test]
async fn of_connections_to_all_replicas_at_once_one_remains() {
    let all: [Dps; 3] = with_assigned(&Database::default()).await;
    for _ in 0..10 {
        let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1);
        let clients = join_all(all.iter().map(async |dps| {
            let mut client = dps.mqtt().await;
            client.connect(&connect).await;
            client
        }));
        let mut clients = clients.await;
        let connected = || {
            all.iter()
                .filter(|it| it.default_hub().is_connected("dev-1"))
                .count()
        };
        until("one connection", || connected() == 1).await;
        let remaining = all
            .iter()
            .position(|it| it.default_hub().is_connected("dev-1"));
        let remaining = &mut clients[remaining.expect("one is connected")];
        for _ in 0..3 {
            remaining.send(PINGREQ).await;
            remaining.expect(PINGRESP).await;
        }
        assert_eq!(connected(), 1, "it stays connected");
        drop(clients);
        until("no connection", || connected() == 0).await;
    }
}

#[tokio::test]
async fn desired_changes_of_all_replicas_reach_the_device_in_order() {
    let all: [Dps; 3] = with_assigned(&Database::default()).await;
    let mut client = all[2].at_hub().await;
    client.listen(DESIRED).await;
    let mut version = client.twin().await["desired"]["$version"]
        .as_u64()
        .expect("a version");
    for number in 0..30 {
        let hub = all[number % 3].default_hub();
        hub.update_desired("dev-1", json!({ "number": number }))
            .await
            .expect("changed");
        let update = client.response().await;
        version += 1;
        assert_eq!(
            update.json(),
            json!({ "number": number, "$version": version })
        );
    }
}

#[tokio::test]
async fn a_device_that_would_receive_changes_out_of_order_connects_again_and_reads_its_twin() {
    let all: [Dps; 3] = with_assigned(&Database::default()).await;
    let mut client = all[2].at_hub().await;
    client.listen(DESIRED).await;
    let mut last = client.twin().await["desired"]["$version"]
        .as_u64()
        .expect("a version");
    let change = async |number: usize| {
        let hub = all[number % 3].default_hub();
        hub.update_desired("dev-1", json!({ "n": number }))
            .await
            .expect("changed");
    };
    join_all((0..60).map(change)).await;
    // Each change that arrives is the next one, until the connection ends or all have arrived.
    while last < 61
        && let Some(update) = client.next_response().await
    {
        last += 1;
        assert_eq!(update.json()["$version"], last);
    }
    let mut again = all[1].at_hub().await;
    assert_eq!(again.twin().await["desired"]["$version"], 61);
}

#[tokio::test]
async fn a_method_reaches_the_device_at_another_replica() {
    let [one, other] = with_assigned(&Database::default()).await;
    let mut client = other.at_hub().await;
    client.listen(METHODS).await;
    let hub = one.default_hub();
    let method = DirectMethod::new("reboot").payload(json!({ "in": "5 s" }));
    let (response, ()) = tokio::join!(hub.invoke_method("dev-1", &method), respond(&mut client));
    let response = response.expect("a response");
    assert_eq!((response.status, response.payload), (204, json!(["done"])));

    // The device disconnects before it responds.
    let leaves = async {
        client.response().await;
        drop(client);
    };
    let (refused, ()) = tokio::join!(hub.invoke_method("dev-1", &method), leaves);
    let refused = refused.expect_err("no response");
    assert_eq!(refused.kind(), ErrorKind::DeviceNotOnline);
    assert!(
        refused.to_string().contains("before it responded"),
        "{refused}"
    );

    // It is not connected. Then it connects within the time that the caller waits.
    let refused = hub
        .invoke_method("dev-1", &method)
        .await
        .expect_err("not connected");
    assert_eq!(refused.kind(), ErrorKind::DeviceNotOnline);
    let patient = method.connect_timeout(TIMEOUT);
    let connects = async {
        let mut client = other.at_hub().await;
        client.listen(METHODS).await;
        respond(&mut client).await;
    };
    let (response, ()) = tokio::join!(hub.invoke_method("dev-1", &patient), connects);
    assert_eq!(response.expect("a response").status, 204);
}

async fn respond(client: &mut Client<Tls>) {
    let request = client.response().await;
    assert!(
        request
            .topic
            .starts_with("$iothub/methods/POST/reboot/?$rid="),
        "{request:?}"
    );
    assert_eq!(request.json(), json!({ "in": "5 s" }));
    let rid = request.topic.rsplit_once('=').expect("a request id").1;
    let topic = format!("$iothub/methods/res/204/?$rid={rid}");
    client.send(&publish(5, &topic, b"[\"done\"]")).await;
    client.expect(b"\x40\x02\x00\x05").await;
}

#[tokio::test]
async fn messages_of_all_replicas_are_queued_up_to_the_limit_and_delivered_once() {
    let all: [Dps; 3] = with_assigned(&Database::default()).await;
    let hubs: Vec<HubHandle> = all.iter().map(Dps::default_hub).collect();
    let send = async |number: usize| {
        let message = CloudToDeviceMessage::new(number.to_string());
        hubs[number % 3].send_message("dev-1", &message).await
    };
    let sent = join_all((0..60).map(send)).await;
    let full = sent.iter().filter_map(|sent| sent.as_ref().err());
    assert!(
        full.clone()
            .all(|error| error.kind() == ErrorKind::QueueFull),
        "{sent:?}"
    );
    assert_eq!(full.count(), 10);

    let mut client = all[1].at_hub().await;
    client.listen(MESSAGES).await;
    let mut bodies = BTreeSet::new();
    for _ in 0..50 {
        bodies.insert(client.response().await.body);
    }
    assert_eq!(bodies.len(), 50);
    let message = CloudToDeviceMessage::new("while it is connected");
    until_empty(&hubs[0]).await;
    hubs[0]
        .send_message("dev-1", &message)
        .await
        .expect("queued");
    assert_eq!(client.response().await.body, b"while it is connected");
}

async fn until_empty(hub: &HubHandle) {
    let empty = async {
        while hub.queued_messages("dev-1").await.expect("read") > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, empty).await.expect("all are acknowledged");
}

#[tokio::test]
async fn a_device_that_is_disabled_or_removed_at_one_replica_is_disconnected_from_another() {
    let [one, other] = with_assigned(&Database::default()).await;
    let hub = one.default_hub();
    let mut client = other.at_hub().await;
    hub.set_enabled("dev-1", false).await.expect("disabled");
    client.closed().await;
    hub.set_enabled("dev-1", true).await.expect("enabled");
    let mut client = other.at_hub().await;
    hub.remove("dev-1").await.expect("removed");
    client.closed().await;
    assert_eq!(hub.device("dev-1").await.expect("read").map(|_| ()), None);
}

#[tokio::test]
async fn a_device_whose_hub_may_have_missed_messages_is_disconnected() {
    let database = Database::default();
    let [one, other] = with_assigned(&database).await;
    let mut client = other.at_hub().await;
    database.interrupt();
    client.closed().await;
    // It works as before.
    let mut client = other.at_hub().await;
    client.listen(DESIRED).await;
    one.default_hub()
        .update_desired("dev-1", json!({ "a": 1 }))
        .await
        .expect("changed");
    assert_eq!(client.response().await.json()["a"], 1);
    assert_ne!(client.twin().await["desired"]["a"], Value::Null);
}
