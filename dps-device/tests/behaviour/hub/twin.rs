//! The twin: downloads, patches, and changes.

use std::time::Duration;

use dps_device::ErrorKind;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::device::Device;
use super::peer::{GET, HubPeer, REPORT, twin};
use super::{connected, following, set_up};
use crate::mqtt::MqttKind;
use crate::mqtt::server::publish;

#[tokio::test]
async fn the_first_update_is_the_whole_twin_and_then_come_the_changes() {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let (mut device, mut peer) = tokio::join!(Device::follow(&hub), HubPeer::accept(&server));
    let device = async {
        let mut updates = Vec::new();
        for _ in 0..3 {
            updates.push(device.version().await);
        }
        updates
    };
    let hub = async {
        let request = peer.request(GET).await;
        // The twin already has changes 3 and 4, and not change 5.
        for version in [3, 4, 5] {
            peer.change(version).await;
        }
        peer.answer(&request, "200", "", &twin(4)).await;
        peer.change(6).await;
    };
    let (updates, ()) = tokio::join!(device, hub);
    assert_eq!(updates, [(true, 4), (false, 5), (false, 6)]);
}

#[tokio::test]
async fn a_missing_change_leads_to_a_download_of_the_twin() {
    let (mut device, mut peer, _server) = following().await;
    let play = async { [device.version().await, device.version().await] };
    let hub = async {
        peer.change(3).await;
        peer.answer_twin(4).await;
        peer.change(4).await;
        peer.change(5).await;
    };
    let (updates, ()) = tokio::join!(play, hub);
    assert_eq!(updates, [(true, 4), (false, 5)]);
}

#[tokio::test]
async fn more_changes_than_are_kept_lead_to_a_download_of_the_twin() {
    let (mut device, mut peer, _server) = following().await;
    // The program reads no events in the meantime.
    let hub = async {
        let request = peer.request(REPORT).await;
        for version in 2..=100 {
            peer.change(version).await;
        }
        peer.answer(&request, "204", "&$version=2", "").await;
    };
    let (reported, ()) = tokio::join!(device.report(json!({"on": true})), hub);
    reported.unwrap();
    let play = async {
        let mut last = 1;
        loop {
            match device.version().await {
                (false, version) => {
                    assert_eq!(version, last + 1);
                    last = version;
                }
                (true, version) => return (last, version),
            }
        }
    };
    let ((last, version), ()) = tokio::join!(play, peer.answer_twin(100));
    assert!((33..100).contains(&last), "{last}");
    assert_eq!(version, 100);
}

#[tokio::test]
async fn a_late_answer_to_a_request_that_was_dropped_is_ignored() {
    let (mut device, mut peer, _server) = connected().await;
    // The caller does not wait for the answer.
    let request = tokio::select! {
        biased;
        _ = device.twin() => panic!("the hub has not answered"),
        request = peer.request(GET) => request,
    };
    let hub = async {
        let second = peer.request(GET).await;
        peer.answer(&request, "200", "", &twin(4)).await;
        peer.answer(&second, "200", "", &twin(5)).await;
    };
    let (twin, ()) = tokio::join!(device.twin(), hub);
    assert_eq!(twin.unwrap().desired.version(), 5);
}

#[tokio::test]
async fn requests_of_several_tasks_are_answered_in_any_order() {
    let (mut device, mut peer, _server) = connected().await;
    let handles = [device.handle.clone(), device.handle.clone()];
    let [first, second] = handles.map(|handle| tokio::spawn(async move { handle.twin().await }));
    let hub = async {
        let requests = [peer.request(GET).await, peer.request(GET).await];
        peer.answer(&requests[1], "200", "", &twin(2)).await;
        peer.answer(&requests[0], "200", "", &twin(1)).await;
        let [first, second] = [first.await, second.await];
        let version =
            |twin: Result<Result<dps_device::Twin, _>, _>| twin.unwrap().unwrap().desired.version();
        let mut versions = [version(first), version(second)];
        versions.sort_unstable();
        assert_eq!(versions, [1, 2]);
    };
    tokio::select! {
        () = device.run() => {}
        () = hub => {}
    }
}

#[tokio::test]
async fn no_change_is_lost_if_the_future_is_dropped() {
    let (mut device, mut peer, _server) = following().await;
    let mut versions = Vec::new();
    for version in 2..=20 {
        peer.change(version).await;
    }
    while versions.len() < 19 {
        // Polled once, and dropped.
        if let Ok(update) = timeout(Duration::ZERO, device.version()).await {
            versions.push(update);
        }
        tokio::task::yield_now().await;
    }
    let expected: Vec<_> = (2..=20).map(|version| (false, version)).collect();
    assert_eq!(versions, expected);
}

#[tokio::test]
async fn answers_to_other_requests_are_ignored() {
    let (mut device, mut peer, _server) = connected().await;
    let hub = async {
        let request = peer.request(GET).await;
        for topic in [
            "$iothub/twin/res/200/?$rid=other",
            "$iothub/twin/res/500",
            "$iothub/methods/POST/reboot/?$rid=1",
            "$iothub/twin/PATCH/properties/desired/?$version=x",
        ] {
            peer.peer
                .send(&publish(0x30, topic, b"", twin(9).as_bytes()))
                .await;
        }
        peer.answer(&request, "200", "", &twin(4)).await;
    };
    let (twin, ()) = tokio::join!(device.twin(), hub);
    assert_eq!(twin.unwrap().desired.version(), 4);
}

/// The error of a patch that is answered like this.
async fn answered(status: &str, body: &str) -> (Device, HubPeer, dps_device::Error) {
    let (mut device, mut peer, _server) = connected().await;
    let hub = async {
        let request = peer.request(REPORT).await;
        assert_eq!(request.body, r#"{"on":true}"#);
        peer.answer(&request, status, "", body).await;
    };
    let patch = json!({"on": true});
    let (outcome, ()) = tokio::join!(device.report(&patch), hub);
    (device, peer, outcome.unwrap_err())
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_keeps_the_connection() {
    for (status, kind) in [
        ("400", ErrorKind::Rejected),
        ("401", ErrorKind::Unauthorized),
        ("403", ErrorKind::Unauthorized),
        ("404", ErrorKind::NotFound),
        ("413", ErrorKind::Rejected),
    ] {
        let (mut device, mut peer, error) = answered(status, "").await;
        assert_eq!(error.kind(), kind, "{status}");
        assert_eq!(error.status(), status.parse().ok());
        let (twin, ()) = tokio::join!(device.twin(), peer.answer_twin(1));
        twin.unwrap();
    }
}

#[tokio::test]
async fn the_error_details_of_the_hub_are_kept() {
    let body = r#"{"errorCode":400004,"trackingId":"7F1C","message":"The property is too long"}"#;
    let (_, _, error) = answered("400", body).await;
    let details = error.error_details().unwrap();
    assert_eq!(details.message.as_deref(), Some("The property is too long"));
}

/// Answers the next request with 429, and waits until the device has read the answer.
async fn throttle(peer: &mut HubPeer, seconds: u64) {
    let rid = peer.request(GET).await.rid;
    let topic = format!("$iothub/twin/res/429/?$rid={rid}&retry-after={seconds}");
    peer.peer
        .send(&publish(0x32, &topic, b"\x00\x07", b""))
        .await;
    assert_eq!(peer.peer.packet().await, b"\x40\x02\x00\x07");
}

#[tokio::test]
async fn temporary_failures_are_retried_not_before_the_hub_allows() {
    let (mut device, mut peer, _server) = connected().await;
    let start = Instant::now();
    let hub = async {
        throttle(&mut peer, 7).await;
        crate::mqtt::connections::skip(8).await;
        for status in ["503", "500"] {
            let request = peer.request(GET).await;
            peer.answer(&request, status, "", "").await;
        }
        peer.answer_twin(4).await;
    };
    let (twin, ()) = tokio::join!(device.twin(), hub);
    assert_eq!(twin.unwrap().desired.version(), 4);
    assert!(start.elapsed() >= Duration::from_secs(7));
}

#[tokio::test]
async fn dropping_a_future_does_not_shorten_the_wait() {
    let (mut device, mut peer, _server) = connected().await;
    tokio::select! {
        biased;
        _ = device.twin() => panic!("the hub requires a wait"),
        () = throttle(&mut peer, 60) => {}
    }
    for _ in 0..3 {
        let report = device.report(json!({"on": true}));
        assert!(timeout(Duration::ZERO, report).await.is_err());
    }
    drop(device);
    assert_eq!(
        peer.peer.packet().await,
        b"\xe0\x00",
        "DISCONNECT is the first packet"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_a_twin_is_a_protocol_error() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"desired":{},"reported":{"$version":1}}"#,
    ] {
        let (mut device, mut peer, _server) = connected().await;
        let hub = async {
            let request = peer.request(GET).await;
            peer.answer(&request, "200", "", body).await;
        };
        let (twin, ()) = tokio::join!(device.twin(), hub);
        assert_eq!(twin.unwrap_err().kind(), ErrorKind::Protocol, "{body}");
    }
    let (_, _, error) = answered("204", "").await;
    assert_eq!(
        error.kind(),
        ErrorKind::Protocol,
        "the answer has no version"
    );
}

#[tokio::test]
async fn a_patch_that_the_hub_would_refuse_is_not_sent() {
    let (mut device, mut peer, _server) = connected().await;
    for patch in [json!([]), json!({"a.b": 1}), json!({"t": "x".repeat(5000)})] {
        let error = device.report(&patch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert_eq!(error.status(), None);
    }
    #[derive(serde::Serialize)]
    struct State {
        darkness: u8,
    }
    let hub = async {
        let request = peer.request(REPORT).await;
        assert_eq!(request.body, r#"{"darkness":5}"#);
        peer.answer(&request, "204", "&$version=2", "").await;
    };
    let state = State { darkness: 5 };
    let (version, ()) = tokio::join!(device.report(&state), hub);
    assert_eq!(version.unwrap(), 2);
}

#[tokio::test]
async fn the_highest_version_is_accepted() {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let (mut device, mut peer) = tokio::join!(Device::follow(&hub), HubPeer::accept(&server));
    let play = async { [device.version().await, device.version().await] };
    let hub = async {
        peer.answer_twin(u64::MAX).await;
        peer.change(u64::MAX).await;
        peer.change(3).await;
        drop(peer);
        let mut peer = HubPeer::accept(&server).await;
        peer.answer_twin(4).await;
        peer
    };
    let (updates, _peer) = tokio::join!(play, hub);
    assert_eq!(updates, [(true, u64::MAX), (true, 4)]);
}

/// A hub of the basic tier has no twins.
#[tokio::test]
async fn a_hub_that_refuses_the_twin_still_receives_telemetry() {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let (mut device, mut peer) = tokio::join!(Device::follow(&hub), HubPeer::accept(&server));
    let script = async {
        let request = peer.request(GET).await;
        peer.answer(&request, "400", "", "").await;
        let message = peer.message().await;
        peer.acknowledge(&message).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        // It asks again after a minute, over the same connection.
        crate::mqtt::connections::skip(61).await;
        peer.answer_twin(5).await;
    };
    let play = async {
        let sent = device.handle.send(dps_device::Message::new("a"));
        device.events.drive(sent).await.unwrap();
        device.version().await
    };
    let (version, ()) = tokio::join!(play, script);
    assert_eq!(version, (true, 5));
}
