//! Messages from the cloud: acknowledged when the program has finished with them.

use std::time::Duration;

use dps_device::{DeviceEvent, ReceivedMessage};
use tokio::time::timeout;

use super::device::Device;
use super::peer::HubPeer;
use super::receiving;

const TOPIC: &str =
    "devices/my-device/messages/devicebound/%24.mid=1&%24.to=%2Fx&iothub-ack=full&a=b%26c";

async fn next(device: &mut Device) -> ReceivedMessage {
    loop {
        if let DeviceEvent::Message(message) = device.events.next().await.unwrap() {
            return message;
        }
    }
}

#[tokio::test]
async fn a_message_is_acknowledged_when_it_is_dropped() {
    let (mut device, mut peer, _server) = receiving().await;
    peer.publish(TOPIC, b"\x00\x09", "hello").await;
    let message = next(&mut device).await;
    assert_eq!(message.payload(), b"hello");
    assert_eq!(message.input(), None);
    let properties: Vec<_> = message.message().properties().collect();
    assert_eq!(properties, [("a", "b&c")]);
    assert_eq!(message.message().message_id(), Some("1"));
    let early = timeout(Duration::from_millis(50), async {
        tokio::select! {
            () = device.run() => {}
            packet = peer.peer.packet() => panic!("it is not processed yet: {packet:?}"),
        }
    });
    assert!(early.await.is_err());
    drop(message);
    tokio::select! {
        () = device.run() => {}
        packet = peer.peer.packet() => assert_eq!(packet, b"\x40\x02\x00\x09"),
    }
}

#[tokio::test]
async fn complete_acknowledges_and_abandon_does_not() {
    let (mut device, mut peer, _server) = receiving().await;
    peer.publish(TOPIC, b"\x00\x09", "first").await;
    peer.publish(TOPIC, b"\x00\x0a", "second").await;
    next(&mut device).await.abandon();
    let message = next(&mut device).await.complete();
    assert_eq!(message.payload(), b"second");
    tokio::select! {
        () = device.run() => {}
        packet = peer.peer.packet() => assert_eq!(packet, b"\x40\x02\x00\x0a"),
    }
}

/// The hub would interpret the packet id as one of the new connection.
#[tokio::test]
async fn a_message_of_a_lost_connection_is_not_acknowledged_over_the_next() {
    let (mut device, mut peer, server) = receiving().await;
    peer.publish(TOPIC, b"\x00\x09", "old").await;
    let old = next(&mut device).await;
    drop(peer);
    let script = async {
        let mut peer = HubPeer::accept(&server).await;
        drop(old);
        peer.publish(TOPIC, b"\x00\x0b", "new").await;
        assert_eq!(peer.peer.packet().await, b"\x40\x02\x00\x0b");
        peer
    };
    let play = async {
        drop(next(&mut device).await);
        device.run().await;
    };
    tokio::select! {
        () = play => {}
        _peer = script => {}
    }
}

#[tokio::test]
async fn messages_that_are_not_read_are_bounded_and_not_acknowledged() {
    let (mut device, mut peer, _server) = receiving().await;
    for id in 1..=100_u8 {
        peer.publish(TOPIC, &[1, id], "x").await;
    }
    // The answer follows the messages.
    let (twin, ()) = tokio::join!(device.twin(), peer.answer_twin(1));
    twin.unwrap();
    let mut messages = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_millis(20), device.events.next()).await {
        if let DeviceEvent::Message(message) = event {
            messages.push(message);
        }
    }
    assert_eq!(messages.len(), 64);
    drop(messages);
    let acknowledged = async {
        for id in 1..=64_u8 {
            assert_eq!(peer.peer.packet().await, [0x40, 2, 1, id]);
        }
    };
    tokio::select! {
        () = device.run() => {}
        () = acknowledged => {}
    }
}

#[tokio::test]
async fn a_message_that_arrives_before_the_subscription_is_confirmed_is_not_lost() {
    let (hub, server) = super::set_up(crate::mqtt::MqttKind::Mqtt).await;
    let options = super::device::following().without_twin_events();
    let device = async {
        let mut device = Device::connect_with(&hub, options).await.unwrap();
        let message = next(&mut device).await;
        assert_eq!(message.payload(), b"early");
    };
    let script = async {
        let mut peer = server.accept().await;
        peer.packet().await;
        peer.send(crate::mqtt::server::CONNACK).await;
        peer.send(&crate::mqtt::server::publish(
            0x32,
            TOPIC,
            b"\x00\x09",
            b"early",
        ))
        .await;
        peer.subscribe().await;
        peer
    };
    let ((), _peer) = tokio::join!(device, script);
}
