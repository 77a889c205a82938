//! An orderly close: accepted messages are sent, or reported as not sent.

use std::time::Duration;

use dps_device::{ErrorKind, Message};
use serde_json::json;

use super::connected;
use super::device::quick;
use super::peer::REPORT;
use super::reconnect::unreachable_hub;
use crate::mqtt::SECOND;

#[tokio::test]
async fn close_sends_accepted_messages_and_disconnects() {
    let (mut device, mut peer, _server) = connected().await;
    let mut deliveries = Vec::new();
    for payload in ["a", "b"] {
        deliveries.push(device.handle.enqueue(Message::new(payload)).await.unwrap());
    }
    let handle = device.handle.clone();
    let reporting = tokio::spawn(async move { handle.report(json!({"on": 1})).await });
    tokio::task::yield_now().await;
    let handle = device.handle.clone();
    let closing = tokio::spawn(async move { handle.close(30 * SECOND).await });
    let script = async {
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let packet = peer.peer.packet().await;
            let topic = packet.windows(6).any(|part| part == b"events");
            let id = if topic {
                [packet[packet.len() - 3], packet[packet.len() - 2]]
            } else {
                [0, 0]
            };
            seen.push((packet, id, topic));
        }
        for (_, id, is_message) in &seen {
            if *is_message {
                peer.peer.send(&[0x40, 2, id[0], id[1]]).await;
            }
        }
        let (report, ..) = seen.iter().find(|(_, _, is_message)| !is_message).unwrap();
        let text = String::from_utf8_lossy(report);
        let start = text.find(REPORT).unwrap() + REPORT.len();
        let rid = &text[start..start + 32];
        let topic = format!("$iothub/twin/res/204/?$rid={rid}&$version=2");
        peer.publish(&topic, b"", "").await;
        assert_eq!(peer.peer.packet().await, b"\xe0\x00", "DISCONNECT");
        peer.peer.closed().await;
    };
    tokio::join!(device.end(), script);
    assert_eq!(closing.await.unwrap().not_sent, 0);
    assert_eq!(reporting.await.unwrap().unwrap(), 2);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let error = device.handle.enqueue(Message::new("c")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn close_reports_messages_that_were_not_sent_within_the_limit() {
    let hub = unreachable_hub().await;
    let (handle, mut events) = hub.connect_with(quick());
    let delivery = handle.enqueue(Message::new("a")).await.unwrap();
    let closing = handle.close(Duration::from_secs(20));
    let ending = async { while events.next().await.is_some() {} };
    let (closed, ()) = tokio::join!(closing, ending);
    assert_eq!(closed.not_sent, 1);
    assert_eq!(delivery.await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(handle.twin().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_device_with_nothing_to_send_is_closed_at_once() {
    let hub = unreachable_hub().await;
    let (handle, mut events) = hub.connect_with(quick());
    let start = tokio::time::Instant::now();
    let closed = events.drive(handle.close(Duration::from_secs(3600))).await;
    assert_eq!(closed.not_sent, 0);
    assert!(start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn close_returns_also_if_the_events_are_not_polled() {
    let hub = unreachable_hub().await;
    let (handle, _events) = hub.connect_with(quick());
    let delivery = handle.enqueue(Message::new("a")).await.unwrap();
    let closed = handle.close(Duration::from_secs(5)).await;
    assert_eq!(closed.not_sent, 1);
    drop(_events);
    assert_eq!(delivery.await.unwrap_err().kind(), ErrorKind::Closed);
}

/// A call that waits for space in the queue does not wait forever.
#[tokio::test(start_paused = true)]
async fn close_ends_calls_that_wait_for_space() {
    let hub = unreachable_hub().await;
    let options = quick().with_queue_limits(1, 100, dps_device::Overflow::Wait);
    let (handle, mut events) = hub.connect_with(options);
    let _first = handle.enqueue(Message::new("a")).await.unwrap();
    let waiting = handle.send(Message::new("b"));
    let closing = events.drive(handle.close(SECOND));
    let (outcome, closed) = tokio::join!(waiting, closing);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(closed.not_sent, 1);
}
