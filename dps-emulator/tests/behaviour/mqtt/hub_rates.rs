//! The rates of a hub, when an instance limits them.

use std::sync::Arc;

use dps_emulator::{HubRates, Limits};
use serde_json::json;

use crate::common::{Connect, Dps, GET, KEY_1, KEY_2, REPORT, TestClock, key_enrollment, publish};

const EVENTS: &str = "devices/dev-1/messages/events/";

/// An emulator with a stopped clock, so that all requests are in one second.
async fn limited(choose: impl FnOnce(&mut HubRates)) -> Dps {
    let mut limits = Limits::default();
    choose(&mut limits.hub_rates);
    let clock = Arc::new(TestClock::now());
    let dps = Dps::start_with(|builder| builder.limits(limits).clock(clock)).await;
    let document = key_enrollment("dev-1", KEY_1, KEY_2);
    dps.create("/enrollments/dev-1", &document).await;
    dps.still_serves().await;
    dps
}

#[tokio::test]
async fn the_rates_are_those_of_the_service_if_they_are_limited() {
    let rates = Limits::default().hub_rates;
    assert_eq!(rates, HubRates::default());
    assert_eq!(rates.connections_per_second, None);
    let rates = Limits::default().throttled().hub_rates;
    assert_eq!(rates.connections_per_second, Some(100));
    assert_eq!(rates.telemetry_per_second, Some(100));
    assert_eq!(rates.twin_reads_per_second, Some(100));
    assert_eq!(rates.twin_updates_per_second, Some(50));
    assert_eq!(rates.messages_per_minute, Some(100));
    assert_eq!(rates.registry_operations_per_minute, Some(100));
    assert_eq!(rates.uploads_per_minute, Some(100));
    let mut limits = Limits::default();
    limits.set("hub-uploads-per-minute", 7).expect("a limit");
    assert_eq!(limits.hub_rates.uploads_per_minute, Some(7));
    let unknown = limits.set("hub-uploads", 7).expect_err("no such limit");
    assert!(unknown.to_string().contains("hub-uploads-per-minute"));
}

#[tokio::test]
async fn connections_above_the_rate_are_refused() {
    let dps = limited(|rates| rates.connections_per_second = Some(1)).await;
    dps.at_hub().await;
    let mut client = dps.mqtt().await;
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1);
    client.send(&connect.bytes()).await;
    client.expect(b"\x20\x02\x00\x03").await;
    client.closed().await;
}

#[tokio::test]
async fn telemetry_above_the_rate_ends_the_connection() {
    let dps = limited(|rates| rates.telemetry_per_second = Some(2)).await;
    let mut client = dps.at_hub().await;
    for _ in 0..2 {
        client.send(&publish(5, EVENTS, b"1")).await;
        client.expect(b"\x40\x02\x00\x05").await;
    }
    client.send(&publish(6, EVENTS, b"1")).await;
    client.closed().await;
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 2);
}

#[tokio::test]
async fn twin_requests_above_the_rate_have_the_status_429() {
    let dps = limited(|rates| {
        rates.twin_reads_per_second = Some(1);
        rates.twin_updates_per_second = Some(0);
    })
    .await;
    let mut client = dps.at_hub().await;
    client.twin().await;
    let refused = client.ask(&format!("{GET}2"), b"").await;
    assert_eq!(refused.topic, "$iothub/twin/res/429/?$rid=2&retry-after=1");
    let refused = client.ask(&format!("{REPORT}3"), b"{}").await;
    assert_eq!(refused.topic, "$iothub/twin/res/429/?$rid=3&retry-after=1");
}

#[tokio::test]
async fn requests_of_back_ends_above_the_rate_have_the_status_429() {
    let dps = limited(|rates| {
        rates.messages_per_minute = Some(1);
        rates.registry_operations_per_minute = Some(1);
        rates.twin_updates_per_second = Some(1);
    })
    .await;
    let send = || {
        let request = dps.hub_request("POST", "/messages/devicebound");
        request.header("iothub-to", "/devices/dev-1/messages/devicebound")
    };
    let read = || dps.hub_request("GET", "/devices/dev-1");
    let patch = || dps.hub_request("PATCH", "/twins/dev-1").json(&json!({}));
    for (accepted, refused) in [(send(), send()), (read(), read()), (patch(), patch())] {
        let (status, _, _) = dps.ask_hub(accepted).await;
        assert!(status < 300, "{status}");
        let (status, _, document) = dps.ask_hub(refused).await;
        assert_eq!(status, 429);
        let message = document["Message"].as_str().expect("text");
        assert!(message.contains("ThrottlingException"), "{message}");
    }
}
