//! Connections to a hub: telemetry, one connection per device, disconnects.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::common::{
    Connect, DISCONNECT, Dps, GET, KEY_1, PINGREQ, PINGRESP, TIMEOUT, TestClock, hub_token,
    publish, publish_at_most_once, subscribe,
};

const EVENTS: &str = "devices/dev-1/messages/events/";

#[tokio::test]
async fn telemetry_is_acknowledged_and_counted() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    client.send(&publish(1, EVENTS, b"{\"t\":21}")).await;
    client.expect(b"\x40\x02\x00\x01").await;
    let with_properties = format!("{EVENTS}%24.ct=application%2Fjson&$.ce=utf-8&alarm=true");
    client.send(&publish(2, &with_properties, b"x")).await;
    client.expect(b"\x40\x02\x00\x02").await;
    client
        .send(&publish_at_most_once(EVENTS, &[0; 100_000]))
        .await;
    client.twin().await;
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 3);
    assert_eq!(dps.default_hub().telemetry_count("dev-2"), 0);
}

#[tokio::test]
async fn subscriptions_to_topics_of_the_device_are_granted() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    let filters = [
        ("devices/dev-1/messages/devicebound/#", 1),
        ("$iothub/methods/POST/#", 0),
        ("devices/dev-2/messages/devicebound/#", 1),
        ("$dps/registrations/res/#", 1),
        ("#", 1),
    ];
    client.send(&subscribe(1, &filters)).await;
    client.expect(b"\x90\x07\x00\x01\x01\x00\x80\x80\x80").await;
}

#[tokio::test]
async fn a_new_connection_closes_the_old_one() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut older = dps.at_hub().await;
    let mut newer = dps.at_hub().await;
    older.closed().await;
    newer.twin().await;
    assert!(dps.default_hub().is_connected("dev-1"));
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1);
    let mut newest = dps.websocket().await;
    newest.connect(&connect).await;
    newer.closed().await;
    newest.send(PINGREQ).await;
    newest.expect(PINGRESP).await;
}

#[tokio::test]
async fn dps_and_hub_connections_of_a_device_are_independent() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut at_hub = dps.at_hub().await;
    let mut at_dps = dps.mqtt_device("dev-1").await;
    assert_eq!(at_dps.provision().await["status"], "assigned");
    at_hub.twin().await;
}

#[tokio::test]
async fn a_device_that_disconnects_is_not_connected() {
    let dps = Dps::with_assigned(Value::Null).await;
    assert!(!dps.default_hub().is_connected("dev-1"));
    let mut client = dps.at_hub().await;
    assert!(dps.default_hub().is_connected("dev-1"));
    client.send(DISCONNECT).await;
    client.closed().await;
    assert!(!dps.default_hub().is_connected("dev-1"));
}

#[tokio::test]
async fn an_unsupported_packet_ends_the_connection() {
    let dps = Dps::with_assigned(Value::Null).await;
    let long = "x".repeat(1025);
    for topic in [
        &format!("$iothub/twin/GET/?$rid={long}"),
        &format!("$iothub/twin/PATCH/properties/reported/?$rid={long}"),
        "devices/dev-2/messages/events/",
        "devices/dev-1/messages/eventsX",
        "$iothub/twin/GET/",
        "$iothub/twin/DELETE/?$rid=1",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
        "hello",
    ] {
        let mut client = dps.at_hub().await;
        client.send(&publish_at_most_once(topic, b"{}")).await;
        client.closed().await;
    }
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 0);
}

#[tokio::test]
async fn qos_2_ends_the_connection() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    let mut packet = publish(1, EVENTS, b"x");
    packet[0] = 0x34;
    client.send(&packet).await;
    client.closed().await;
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 0);
}

#[tokio::test]
async fn a_back_end_can_end_the_connection() {
    let dps = Dps::with_assigned(Value::Null).await;
    let hub = dps.default_hub();
    assert!(!hub.disconnect("dev-1"));

    let mut client = dps.at_hub().await;
    assert!(hub.disconnect("dev-1"));
    client.closed().await;

    let mut client = dps.at_hub().await;
    hub.set_enabled("dev-1", false).await.expect("disabled");
    client.closed().await;
    hub.set_enabled("dev-1", true).await.expect("enabled");

    let mut client = dps.at_hub().await;
    hub.remove("dev-1").await.expect("removed");
    client.closed().await;
}

#[tokio::test]
async fn a_connection_ends_when_its_token_expires() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(std::sync::Arc::new(clock.clone()))).await;
    dps.enroll("dev-1").await;
    dps.still_serves().await;
    let mut client = dps.mqtt().await;
    let soon = hub_token("127.0.0.1", "dev-1", KEY_1, clock.unix() + 1);
    client
        .connect(&Connect::to_hub("127.0.0.1", "dev-1").password(&soon))
        .await;
    client.closed().await;
    assert!(!dps.default_hub().is_connected("dev-1"));
}

#[tokio::test]
async fn a_client_that_exceeds_its_keep_alive_is_disconnected() {
    let dps = Dps::with_assigned(Value::Null).await;
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1);
    let mut client = dps.mqtt().await;
    client.connect(&connect.keep_alive(1)).await;
    client.listen(crate::common::DESIRED).await;
    let hub = dps.default_hub();
    let telling = async {
        loop {
            hub.update_desired("dev-1", json!({ "n": 1 }))
                .await
                .expect("patched");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // The client acknowledges nothing: it only reads.
    let reading = async {
        while crate::common::Transport::receive(&mut client.transport)
            .await
            .is_some()
        {}
    };
    let cut = async {
        tokio::select! {
            () = telling => {}
            () = reading => {}
        }
    };
    timeout(TIMEOUT, cut).await.expect("cut off");
    assert!(!hub.is_connected("dev-1"));
}

#[tokio::test]
async fn stopping_the_emulator_ends_the_connection() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    client.send(&publish(1, &format!("{GET}1"), b"")).await;
    client.expect(b"\x40\x02\x00\x01").await;
    client.response().await;
    dps.emulator.shutdown().await;
    client.closed().await;
}
