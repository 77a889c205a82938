//! Telemetry: acknowledgements, back-pressure, the queue, and lost connections.

use std::time::Duration;

use dps_device::{Delivery, ErrorKind, Message, Overflow};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::device::{Device, quick};
use super::peer::{HubPeer, Request};
use super::reconnect::unreachable_hub;
use super::{connected, set_up};
use crate::mqtt::MqttKind;
use crate::mqtt::connections::skip;

async fn enqueue(device: &mut Device, payload: &str) -> Delivery {
    let message = Message::new(payload);
    device
        .events
        .drive(device.handle.enqueue(message))
        .await
        .unwrap()
}

async fn messages(peer: &mut HubPeer, count: usize) -> Vec<Request> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(peer.message().await);
    }
    messages
}

fn bodies(messages: &[Request]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.body.as_str())
        .collect()
}

#[tokio::test]
async fn send_returns_when_the_hub_has_acknowledged() {
    let (mut device, mut peer, _server) = connected().await;
    let mut delivery = enqueue(&mut device, "21.5").await;
    let message = tokio::select! {
        () = device.run() => unreachable!(),
        message = peer.message() => message,
    };
    assert_eq!(message.topic, "devices/my-device/messages/events/");
    assert_eq!(message.body, "21.5");
    assert_eq!(device.handle.queued(), 1);
    let waiting = timeout(
        Duration::from_millis(20),
        device.events.drive(&mut delivery),
    );
    assert!(waiting.await.is_err());
    peer.acknowledge(&message).await;
    device.events.drive(delivery).await.unwrap();
    assert_eq!(device.handle.queued(), 0);
}

#[tokio::test]
async fn the_number_of_messages_in_flight_is_limited() {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let options = quick().with_max_in_flight(3);
    let device = Device::connect_with(&hub, options);
    let (device, mut peer) = tokio::join!(device, HubPeer::accept(&server));
    let mut device = device.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..5 {
        deliveries.push(enqueue(&mut device, &number.to_string()).await);
    }
    let script = async {
        let first = messages(&mut peer, 3).await;
        assert_eq!(bodies(&first), ["0", "1", "2"]);
        let fourth = timeout(Duration::from_millis(50), peer.message()).await;
        assert!(fourth.is_err(), "the window is full");
        peer.acknowledge(&first[0]).await;
        let fourth = peer.message().await;
        assert_eq!(fourth.body, "3");
        for message in [&first[1], &first[2], &fourth] {
            peer.acknowledge(message).await;
        }
        let fifth = peer.message().await;
        peer.acknowledge(&fifth).await;
    };
    let sent = device.events.drive(join_all(deliveries));
    let (outcomes, ()) = tokio::join!(sent, script);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
async fn messages_without_acknowledgement_are_sent_again_in_order_over_the_next_connection() {
    let (mut device, mut peer, server) = connected().await;
    let mut deliveries = Vec::new();
    for payload in ["a", "b", "c"] {
        deliveries.push(enqueue(&mut device, payload).await);
    }
    let script = async {
        let sent = messages(&mut peer, 3).await;
        peer.acknowledge(&sent[0]).await;
        // The acknowledgement arrives before the end of the connection.
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(peer);
        let mut peer = HubPeer::accept(&server).await;
        let again = messages(&mut peer, 2).await;
        assert_eq!(bodies(&again), ["b", "c"]);
        for message in &again {
            peer.acknowledge(message).await;
        }
        peer
    };
    let sent = device.events.drive(join_all(deliveries));
    let (outcomes, _peer) = tokio::join!(sent, script);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
async fn a_connection_without_acknowledgements_is_replaced() {
    let (mut device, mut peer, server) = connected().await;
    let delivery = enqueue(&mut device, "a").await;
    let script = async {
        peer.message().await;
        skip(31).await;
        let mut new = HubPeer::accept(&server).await;
        let message = new.message().await;
        assert_eq!(message.body, "a");
        new.acknowledge(&message).await;
        new
    };
    let (outcome, _peer) = tokio::join!(device.events.drive(delivery), script);
    outcome.unwrap();
}

/// The program did not poll the events for longer than an acknowledgement may take.
#[tokio::test]
async fn an_acknowledgement_that_was_not_read_in_time_counts() {
    let (mut device, mut peer, _server) = connected().await;
    let delivery = enqueue(&mut device, "a").await;
    let message = tokio::select! {
        () = device.run() => unreachable!(),
        message = peer.message() => message,
    };
    peer.acknowledge(&message).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    skip(100).await;
    device.events.drive(delivery).await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_at_once() {
    let (device, _peer, _server) = connected().await;
    let message = Message::new(vec![0; Message::MAX_BYTES + 1]);
    let error = device.handle.enqueue(message).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn a_full_queue_drops_the_configured_message() {
    let hub = unreachable_hub().await;
    let limits = |overflow| quick().with_queue_limits(2, 1000, overflow);

    let (handle, _events) = hub.connect_with(limits(Overflow::DropNewest));
    for payload in ["a", "b"] {
        drop(handle.enqueue(Message::new(payload)).await.unwrap());
    }
    let error = handle.enqueue(Message::new("c")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Queue);

    let (handle, mut events) = hub.connect_with(limits(Overflow::DropOldest));
    let oldest = handle.enqueue(Message::new("a")).await.unwrap();
    for payload in ["b", "c"] {
        drop(handle.enqueue(Message::new(payload)).await.unwrap());
    }
    let error = events.drive(oldest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Queue);
    assert_eq!(handle.queued(), 2);

    let (handle, _events) = hub.connect_with(limits(Overflow::Wait));
    for payload in ["a", "b"] {
        drop(handle.enqueue(Message::new(payload)).await.unwrap());
    }
    let third = timeout(Duration::from_millis(20), handle.enqueue(Message::new("c")));
    assert!(third.await.is_err(), "the queue is full");
}

#[tokio::test]
async fn the_bytes_of_the_queue_are_also_limited() {
    let hub = unreachable_hub().await;
    let options = quick().with_queue_limits(1000, 100, Overflow::DropNewest);
    let (handle, _events) = hub.connect_with(options);
    drop(handle.enqueue(Message::new([0; 60])).await.unwrap());
    let error = handle.enqueue(Message::new([0; 60])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Queue);
    let error = handle.enqueue(Message::new([0; 200])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

/// A sender that waits for space continues when a message was acknowledged.
#[tokio::test]
async fn senders_wait_for_space_in_the_queue() {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let options = quick().with_queue_limits(2, 1000, Overflow::Wait);
    let device = Device::connect_with(&hub, options);
    let (device, mut peer) = tokio::join!(device, HubPeer::accept(&server));
    let mut device = device.unwrap();
    let handle = device.handle.clone();
    let senders = join_all((0..20).map(|number: u8| handle.send(Message::new([number]))));
    let script = async {
        for number in 0..20 {
            let message = peer.message().await;
            assert_eq!(message.body.as_bytes(), [number]);
            assert!(handle.queued() <= 2);
            peer.acknowledge(&message).await;
        }
    };
    let (outcomes, ()) = tokio::join!(device.events.drive(senders), script);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}
