//! Direct methods: responses of the program, and those of the device itself.

use std::time::Duration;

use dps_device::{DeviceEvent, ErrorKind, MethodRequest};
use serde_json::{Value, json};

use super::device::{Device, following};
use super::peer::{HubPeer, Request};
use super::{receiving, set_up};
use crate::mqtt::MqttKind;
use crate::mqtt::connections::skip;

async fn next(device: &mut Device) -> MethodRequest {
    loop {
        if let DeviceEvent::Method(method) = device.events.next().await.unwrap() {
            return method;
        }
    }
}

async fn response(device: &mut Device, peer: &mut HubPeer) -> Request {
    tokio::select! {
        () = device.run() => unreachable!(),
        response = peer.response() => response,
    }
}

#[tokio::test]
async fn a_method_has_a_name_a_payload_and_a_response() {
    let (mut device, mut peer, _server) = receiving().await;
    peer.method("set%20level", "1f", r#"{"level":3}"#).await;
    let method = next(&mut device).await;
    assert_eq!(method.name(), "set level");
    assert_eq!(method.parse::<Value>().unwrap()["level"], 3);
    assert!(method.parse::<u8>().is_err());
    method.respond(200, json!({"was": 2})).unwrap();
    let response = response(&mut device, &mut peer).await;
    assert_eq!(response.topic, "$iothub/methods/res/200/?$rid=");
    assert_eq!(response.rid, "1f");
    assert_eq!(response.body, r#"{"was":2}"#);
}

#[tokio::test]
async fn an_empty_payload_is_null() {
    let (mut device, mut peer, _server) = receiving().await;
    peer.method("reboot", "1", "").await;
    let method = next(&mut device).await;
    assert_eq!(method.payload(), b"");
    assert_eq!(method.parse::<Option<u8>>().unwrap(), None);
    method.respond(-5, ()).unwrap();
    let response = response(&mut device, &mut peer).await;
    assert_eq!(response.topic, "$iothub/methods/res/-5/?$rid=");
    assert_eq!(response.body, "null");
}

#[tokio::test]
async fn a_method_that_is_dropped_is_not_implemented() {
    let (mut device, mut peer, _server) = receiving().await;
    peer.method("unknown", "1", "{}").await;
    drop(next(&mut device).await);
    let response = response(&mut device, &mut peer).await;
    assert_eq!(response.topic, "$iothub/methods/res/501/?$rid=");
}

#[tokio::test]
async fn a_response_that_cannot_be_sent_is_an_error_for_both() {
    let (mut device, mut peer, _server) = receiving().await;
    peer.method("dump", "1", "{}").await;
    let method = next(&mut device).await;
    let large = "x".repeat(MethodRequest::MAX_BYTES);
    assert_eq!(
        method.respond(200, large).unwrap_err().kind(),
        ErrorKind::Rejected
    );
    let response = response(&mut device, &mut peer).await;
    assert_eq!(response.topic, "$iothub/methods/res/500/?$rid=");
}

#[tokio::test]
async fn a_program_that_is_too_slow_responds_with_504() {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let options = following()
        .without_twin_events()
        .with_method_timeout(Duration::from_secs(5));
    let device = Device::connect_with(&hub, options);
    let (device, mut peer) = tokio::join!(device, HubPeer::accept(&server));
    let mut device = device.unwrap();
    peer.method("slow", "1", "{}").await;
    let method = next(&mut device).await;
    skip(6).await;
    let first = response(&mut device, &mut peer).await;
    assert_eq!(first.topic, "$iothub/methods/res/504/?$rid=");
    let error = method.respond(200, json!({})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    // Nothing follows.
    peer.method("quick", "2", "{}").await;
    next(&mut device).await.respond(200, json!({})).unwrap();
    let second = response(&mut device, &mut peer).await;
    assert_eq!((second.rid.as_str(), second.body.as_str()), ("2", "{}"));
}

#[tokio::test]
async fn more_methods_than_fit_are_answered_with_429() {
    let (mut device, mut peer, _server) = receiving().await;
    let script = async {
        for rid in 0..65 {
            peer.method("x", &rid.to_string(), "{}").await;
        }
        peer.response().await
    };
    let response = tokio::select! {
        () = device.run() => unreachable!(),
        response = script => response,
    };
    assert_eq!(response.topic, "$iothub/methods/res/429/?$rid=");
    assert_eq!(response.rid, "64");
}

#[tokio::test]
async fn a_response_over_another_connection_is_not_sent() {
    let (mut device, mut peer, server) = receiving().await;
    peer.method("x", "1", "{}").await;
    let old = next(&mut device).await;
    drop(peer);
    let script = async {
        let mut peer = HubPeer::accept(&server).await;
        old.respond(200, json!("old")).unwrap();
        peer.method("x", "1", "{}").await;
        let response = peer.response().await;
        assert_eq!(response.body, r#""new""#);
    };
    let play = async {
        let method = next(&mut device).await;
        method.respond(200, json!("new")).unwrap();
        device.run().await;
    };
    tokio::select! {
        () = play => {}
        () = script => {}
    }
}
