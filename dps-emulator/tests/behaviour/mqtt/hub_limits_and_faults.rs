//! A device at its hub: filters of other SDKs, large telemetry, topics of other devices, and injected faults.

use std::time::Duration;

use dps_emulator::fault::{Effect, Fault, Step};
use serde_json::json;

use crate::common::{
    Connect, Dps, GET, KEY_1, PINGREQ, PINGRESP, REPORT, RESPONSES, publish, subscribe,
};

const EVENTS: &str = "devices/dev-1/messages/events/";

#[tokio::test]
async fn a_filter_with_a_wildcard_for_the_device() {
    let dps = Dps::with_assigned(json!({})).await;
    let mut client = dps.at_hub().await;
    let filters = [("devices/+/messages/devicebound/#", 1)];
    client.send(&subscribe(4, &filters)).await;
    client.expect(b"\x90\x03\x00\x04\x01").await;
}

#[tokio::test]
async fn telemetry_of_256_kib_and_no_more() {
    let dps = Dps::with_assigned(json!({})).await;
    let mut client = dps.at_hub().await;
    client
        .send(&publish(5, EVENTS, &vec![b'x'; 256 * 1024]))
        .await;
    client.expect(b"\x40\x02\x00\x05").await;
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 1);
    client
        .send(&publish(6, EVENTS, &vec![b'x'; 256 * 1024 + 1]))
        .await;
    client.closed().await;
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 1);
}

#[tokio::test]
async fn telemetry_for_another_device_is_not_acknowledged() {
    let dps = Dps::with_assigned(json!({})).await;
    let mut client = dps.at_hub().await;
    client
        .send(&publish(5, "devices/dev-2/messages/events/", b"1"))
        .await;
    client.closed().await;
    assert_eq!(dps.default_hub().telemetry_count("dev-2"), 0);
}

#[tokio::test]
async fn faults_at_the_connection() {
    let dps = Dps::with_assigned(json!({})).await;
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1);
    for effect in [
        Effect::Fail(503),
        Effect::Throttle {
            retry_after: Duration::from_secs(1),
        },
    ] {
        dps.emulator
            .faults()
            .next(Fault::new(Step::HubConnect, effect));
        let mut client = dps.mqtt().await;
        client.send(&connect.bytes()).await;
        client.expect(b"\x20\x02\x00\x03").await;
        client.closed().await;
    }
    dps.emulator
        .faults()
        .next(Fault::new(Step::HubConnect, Effect::Drop));
    let mut client = dps.mqtt().await;
    client.send(&connect.bytes()).await;
    client.closed().await;
    dps.mqtt().await.connect(&connect).await;
}

#[tokio::test]
async fn faults_of_twin_requests() {
    let dps = Dps::with_assigned(json!({})).await;
    let faults = dps.emulator.faults();
    let mut client = dps.at_hub().await;
    let retry_after = Duration::from_secs(7);
    faults.next(Fault::new(Step::TwinGet, Effect::Throttle { retry_after }));
    let response = client.ask(&format!("{GET}1"), b"").await;
    assert_eq!(response.topic, "$iothub/twin/res/429/?$rid=1&retry-after=7");

    faults.next(Fault::new(Step::TwinGet, Effect::Malformed));
    let response = client.ask(&format!("{GET}2"), b"").await;
    assert_eq!(response.topic, "$iothub/twin/res/200/?$rid=2");
    assert!(serde_json::from_slice::<serde_json::Value>(&response.body).is_err());

    faults.next(Fault::new(Step::TwinReport, Effect::Fail(500)));
    let response = client.ask(&format!("{REPORT}3"), b"{\"a\":1}").await;
    assert_eq!(response.topic, "$iothub/twin/res/500/?$rid=3");

    faults.next(Fault::new(Step::TwinReport, Effect::Silence));
    client
        .send(&publish(8, &format!("{REPORT}4"), b"{\"a\":1}"))
        .await;
    client.expect(b"\x40\x02\x00\x08").await;
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
    assert_eq!(client.twin().await["reported"]["$version"], 1);

    faults.next(Fault::new(Step::TwinReport, Effect::DropAfter));
    client
        .send(&publish(9, &format!("{REPORT}5"), b"{\"a\":2}"))
        .await;
    client.expect(b"\x40\x02\x00\x09").await;
    client.closed().await;
    let mut client = dps.at_hub().await;
    assert_eq!(client.twin().await["reported"]["a"], 2);
    client.listen(RESPONSES).await;
}

#[tokio::test]
async fn faults_of_telemetry() {
    let dps = Dps::with_assigned(json!({})).await;
    let faults = dps.emulator.faults();
    faults.next(Fault::new(Step::Telemetry, Effect::Silence));
    faults.next(Fault::new(Step::Telemetry, Effect::Drop));
    let mut client = dps.at_hub().await;
    client.send(&publish(5, EVENTS, b"1")).await;
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
    client.send(&publish(6, EVENTS, b"2")).await;
    client.closed().await;
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 0);
}
