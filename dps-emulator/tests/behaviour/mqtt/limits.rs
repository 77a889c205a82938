//! Quotas and rates, which are the same as over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use dps_emulator::Limits;

use crate::common::{Dps, KEY_1, REGISTER, STATUS, TestClock};

async fn limited(choose: impl FnOnce(&mut Limits)) -> (Dps, TestClock) {
    let clock = TestClock::now();
    // Five seconds into a minute.
    clock.advance(Duration::from_secs(60 - clock.unix() % 60 + 5));
    let mut limits = Limits::default();
    choose(&mut limits);
    let dps = Dps::start_with(|builder| builder.limits(limits).clock(Arc::new(clock.clone())));
    let dps = dps.await;
    dps.enroll("dev-1").await;
    (dps, clock)
}

#[tokio::test]
async fn a_message_beyond_the_limit() {
    let (dps, _) = limited(|limits| limits.message_bytes = 100).await;
    let mut client = dps.mqtt_device("dev-1").await;
    for (length, topic) in [
        (101, "$dps/registrations/res/413/?$rid=1"),
        (100, "$dps/registrations/res/202/?$rid=1&retry-after=0"),
    ] {
        let body = format!(r#"{{"payload":"{}"}}"#, "x".repeat(length - 14));
        let response = client.ask(&format!("{REGISTER}1"), body.as_bytes()).await;
        assert_eq!(response.topic, topic, "{response:?}");
    }
}

#[tokio::test]
async fn registrations_that_come_too_fast() {
    let (dps, clock) = limited(|limits| limits.registrations_per_minute = Some(1)).await;
    let mut client = dps.mqtt_device("dev-1").await;
    client.register(b"{}").await;
    let response = client.ask(&format!("{REGISTER}1"), b"{}").await;
    let topic = "$dps/registrations/res/429/?$rid=1&retry-after=55";
    assert_eq!(response.topic, topic, "{response:?}");
    assert_eq!(response.json()["errorCode"], 429_001);
    clock.advance(Duration::from_secs(55));
    client.register(b"{}").await;
}

#[tokio::test]
async fn polls_that_come_too_fast() {
    let (dps, _) = limited(|limits| limits.polls_per_10_seconds = Some(5)).await;
    let mut client = dps.mqtt_device("dev-1").await;
    let poll = format!("{STATUS}1&operationId=5.0");
    for _ in 0..5 {
        let response = client.ask(&poll, b"").await;
        let topic = "$dps/registrations/res/404/?$rid=1";
        assert_eq!(response.topic, topic, "{response:?}");
    }
    let response = client.ask(&poll, b"").await;
    let topic = "$dps/registrations/res/429/?$rid=1&retry-after=5";
    assert_eq!(response.topic, topic, "{response:?}");
    let message = "Operations are being throttled for this tenant.";
    assert_eq!(response.json()["message"], message);
    // They are the same polls as over HTTPS.
    let polled = dps.device("dev-1").key(KEY_1).poll("5.0").await;
    assert_eq!(polled.status, 429, "{polled:?}");
}
