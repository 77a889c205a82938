//! Cloud-to-device messages, as a device receives and acknowledges them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dps_emulator::{Acknowledgement, Clock, CloudToDeviceMessage, ErrorKind, FeedbackStatus};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{
    Client, Connect, Dps, KEY_1, KEY_2, PINGREQ, PINGRESP, TestClock, Tls, Transport,
    key_enrollment, subscribe,
};

const FILTER: &str = "devices/dev-1/messages/devicebound/#";

async fn listening(dps: &Dps) -> Client<Tls> {
    let mut client = dps.at_hub().await;
    client.listen(FILTER).await;
    client
}

/// Reads a message and does not acknowledge it. Returns its body and packet id.
async fn unacknowledged<C: Transport>(client: &mut Client<C>) -> (Vec<u8>, [u8; 2]) {
    let (first, body) = client.packet().await;
    assert_eq!(first, 0x32, "a PUBLISH of QoS 1: {body:02x?}");
    let topic = usize::from(u16::from_be_bytes([body[0], body[1]])) + 2;
    let id = [body[topic], body[topic + 1]];
    (body[topic + 2..].to_vec(), id)
}

async fn alive(client: &mut Client<Tls>) {
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
}

#[tokio::test]
async fn a_message_arrives_with_its_properties() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = listening(&dps).await;
    let message = CloudToDeviceMessage::new("turn on")
        .message_id("m/1")
        .correlation_id("c")
        .content_type("text/plain")
        .acknowledgement(Acknowledgement::Full)
        .property("site", "north & south");
    let hub = dps.default_hub();
    hub.send_message("dev-1", &message).await.expect("queued");
    let received = client.response().await;
    assert_eq!(
        received.topic,
        "devices/dev-1/messages/devicebound/%24.mid=m%2F1&%24.cid=c&%24.ct=text%2Fplain\
         &site=north%20%26%20south&%24.to=%2Fdevices%2Fdev-1%2Fmessages%2Fdevicebound&iothub-ack=full"
    );
    assert_eq!(received.body, b"turn on");
    alive(&mut client).await;
    assert_eq!(hub.queued_messages("dev-1").await.expect("read"), 0);
    let feedback = hub.take_feedback().await.expect("read");
    let [feedback] = feedback.as_slice() else {
        panic!("one record: {feedback:?}");
    };
    assert_eq!(feedback.original_message_id, "m/1");
    assert_eq!(feedback.status_code, FeedbackStatus::Success);
    assert!(hub.take_feedback().await.expect("read").is_empty());
}

#[tokio::test]
async fn messages_wait_for_the_device_and_arrive_in_order() {
    let dps = Dps::with_assigned(Value::Null).await;
    let hub = dps.default_hub();
    for body in ["1", "2", "3"] {
        let message = CloudToDeviceMessage::new(body);
        hub.send_message("dev-1", &message).await.expect("queued");
    }
    let twin = hub.twin("dev-1").await.expect("a twin");
    assert_eq!(twin["cloudToDeviceMessageCount"], 3);
    let mut client = dps.at_hub().await;
    alive(&mut client).await;
    client.listen(FILTER).await;
    for body in [b"1", b"2", b"3"] {
        assert_eq!(client.response().await.body, body);
    }
    alive(&mut client).await;
    assert_eq!(hub.queued_messages("dev-1").await.expect("read"), 0);
    assert!(hub.take_feedback().await.expect("read").is_empty());
}

#[tokio::test]
async fn a_message_that_is_not_acknowledged_arrives_again() {
    let dps = Dps::with_assigned(Value::Null).await;
    let hub = dps.default_hub();
    let mut client = listening(&dps).await;
    for body in ["1", "2"] {
        let message = CloudToDeviceMessage::new(body);
        hub.send_message("dev-1", &message).await.expect("queued");
    }
    let (first, _) = unacknowledged(&mut client).await;
    let (second, id) = unacknowledged(&mut client).await;
    assert_eq!((first, second), (b"1".to_vec(), b"2".to_vec()));
    // Only the second one is acknowledged.
    client.send(&[0x40, 0x02, id[0], id[1]]).await;
    alive(&mut client).await;
    assert_eq!(hub.queued_messages("dev-1").await.expect("read"), 1);

    let mut client = listening(&dps).await;
    assert_eq!(client.response().await.body, b"1");
    alive(&mut client).await;
    assert_eq!(hub.queued_messages("dev-1").await.expect("read"), 0);
}

#[tokio::test]
async fn with_qos_0_a_message_needs_no_acknowledgement() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    client.send(&subscribe(3, &[(FILTER, 0)])).await;
    client.expect(b"\x90\x03\x00\x03\x00").await;
    let hub = dps.default_hub();
    let message = CloudToDeviceMessage::new("1");
    hub.send_message("dev-1", &message).await.expect("queued");
    let received = client.response().await;
    assert_eq!((received.packet_id, received.body), (None, b"1".to_vec()));
    alive(&mut client).await;
    assert_eq!(hub.queued_messages("dev-1").await.expect("read"), 0);
}

#[tokio::test]
async fn a_message_expires() {
    let clock = TestClock::now();
    let at = clock.clone();
    let dps = Dps::start_with(move |builder| builder.clock(Arc::new(at))).await;
    let document = key_enrollment("dev-1", KEY_1, KEY_2);
    dps.create("/enrollments/dev-1", &document).await;
    dps.still_serves().await;
    let hub = dps.default_hub();
    let soon: SystemTime = Clock::now(&clock) + Duration::from_secs(60);
    let expiring = CloudToDeviceMessage::new("old")
        .message_id("old")
        .acknowledgement(Acknowledgement::Negative)
        .expires_at(soon);
    hub.send_message("dev-1", &expiring).await.expect("queued");
    let message = CloudToDeviceMessage::new("new").acknowledgement(Acknowledgement::Negative);
    hub.send_message("dev-1", &message).await.expect("queued");
    clock.advance(Duration::from_secs(61));
    let feedback = hub.take_feedback().await.expect("read");
    let [feedback] = feedback.as_slice() else {
        panic!("one record: {feedback:?}");
    };
    assert_eq!(feedback.original_message_id, "old");
    assert_eq!(feedback.status_code, FeedbackStatus::Expired);
    let mut client = listening(&dps).await;
    assert_eq!(client.response().await.body, b"new");
    // The default lifetime is an hour.
    hub.send_message("dev-1", &CloudToDeviceMessage::new("x"))
        .await
        .expect("queued");
    client.response().await;
    alive(&mut client).await;
    hub.disconnect("dev-1");
    hub.send_message("dev-1", &CloudToDeviceMessage::new("y"))
        .await
        .expect("queued");
    clock.advance(Duration::from_secs(3601));
    assert_eq!(hub.queued_messages("dev-1").await.expect("read"), 0);
}

#[tokio::test]
async fn the_queue_and_the_messages_are_limited() {
    let dps = Dps::with_assigned(Value::Null).await;
    let hub = dps.default_hub();
    let kind = async |id: &str, body: Vec<u8>| {
        let message = CloudToDeviceMessage::new(body);
        let sent = hub.send_message(id, &message).await;
        sent.err().map(|error| error.kind())
    };
    let large = vec![b'x'; 64 * 1024];
    assert_eq!(kind("dev-1", large.clone()).await, None);
    let larger = [large, vec![b'x']].concat();
    assert_eq!(kind("dev-1", larger).await, Some(ErrorKind::InvalidMessage));
    for _ in 0..49 {
        assert_eq!(kind("dev-1", Vec::new()).await, None);
    }
    assert_eq!(kind("dev-1", Vec::new()).await, Some(ErrorKind::QueueFull));
    assert_eq!(
        kind("dev-2", Vec::new()).await,
        Some(ErrorKind::DeviceNotFound)
    );
    // All of them are in flight at once.
    let mut client = listening(&dps).await;
    for _ in 0..50 {
        unacknowledged(&mut client).await;
    }
    alive(&mut client).await;
    assert_eq!(kind("dev-1", Vec::new()).await, Some(ErrorKind::QueueFull));
}

#[tokio::test]
async fn a_device_that_was_removed_does_not_leave_messages_to_the_next() {
    let dps = Dps::with_assigned(Value::Null).await;
    let hub = dps.default_hub();
    let message = CloudToDeviceMessage::new("for the first device");
    hub.send_message("dev-1", &message).await.expect("queued");
    hub.remove("dev-1").await.expect("removed");
    dps.still_serves().await;
    assert_eq!(hub.queued_messages("dev-1").await.expect("read"), 0);
    let mut client = listening(&dps).await;
    alive(&mut client).await;
}

#[tokio::test]
async fn the_queue_survives_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let dps = Dps::start_with(|builder| builder.data_dir(dir.path())).await;
    let document = key_enrollment("dev-1", KEY_1, KEY_2);
    dps.create("/enrollments/dev-1", &document).await;
    dps.still_serves().await;
    for body in ["1", "2"] {
        let message = CloudToDeviceMessage::new(body).property("n", body);
        let queued = dps.default_hub().send_message("dev-1", &message).await;
        queued.expect("queued");
    }
    dps.emulator.shutdown().await;
    let dps = Dps::start_with(|builder| builder.data_dir(dir.path())).await;
    let message = CloudToDeviceMessage::new("3").property("n", "3");
    let queued = dps.default_hub().send_message("dev-1", &message).await;
    queued.expect("queued");
    let mut client = listening(&dps).await;
    for body in ["1", "2", "3"] {
        let received = client.response().await;
        assert_eq!(received.body, body.as_bytes());
        assert!(
            received.topic.contains(&format!("n={body}&")),
            "{received:?}"
        );
    }
}

#[tokio::test]
async fn a_device_receives_only_its_own_messages() {
    let dps = Dps::with_assigned(Value::Null).await;
    dps.enroll("dev-2").await;
    let mut other = dps.mqtt_device("dev-2").await;
    other.provision().await;
    let message = CloudToDeviceMessage::new("for dev-2");
    let sent = dps.default_hub().send_message("dev-2", &message).await;
    sent.expect("queued");
    let mut client = dps.at_hub().await;
    client.listen("devices/+/messages/devicebound/#").await;
    alive(&mut client).await;
    let mut other = dps.mqtt().await;
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-2", KEY_1);
    other.connect(&connect).await;
    other.listen("devices/dev-2/messages/devicebound/#").await;
    assert_eq!(other.response().await.body, b"for dev-2");
}
