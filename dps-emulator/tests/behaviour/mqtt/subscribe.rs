//! SUBSCRIBE and UNSUBSCRIBE: there is one topic filter.

use crate::common::{
    Connect, Dps, FILTER, KEY_1, PINGREQ, PINGRESP, REGISTER, publish, subscribe, unsubscribe,
};

async fn connected(dps: &Dps) -> crate::common::Client<crate::common::Tls> {
    let mut client = dps.mqtt().await;
    client.connect(&Connect::with_key("dev-1", KEY_1)).await;
    client
}

#[tokio::test]
async fn the_quality_of_service_is_one_at_most() {
    let dps = Dps::with_device().await;
    let mut client = connected(&dps).await;
    client.send(&subscribe(10, &[(FILTER, 0)])).await;
    client.expect(b"\x90\x03\x00\x0A\x00").await;
    client.send(&subscribe(11, &[(FILTER, 1)])).await;
    client.expect(b"\x90\x03\x00\x0B\x01").await;
    client.send(&subscribe(0xFFFF, &[(FILTER, 2)])).await;
    client.expect(b"\x90\x03\xFF\xFF\x01").await;
}

#[tokio::test]
async fn other_filters_fail() {
    let dps = Dps::with_device().await;
    let mut client = connected(&dps).await;
    for filter in [
        "#",
        "+/registrations/res/#",
        "$dps/#",
        "$dps/registrations/#",
        "$dps/registrations/res/+",
        "$dps/registrations/res/",
        "$dps/registrations/RES/#",
        "$iothub/twin/res/#",
        "devices/dev-1/messages/devicebound/#",
        "$SYS/#",
    ] {
        client.send(&subscribe(3, &[(filter, 1)])).await;
        client.expect(b"\x90\x03\x00\x03\x80").await;
    }
    // None of them has a response, and a failure does not end the connection.
    client
        .send(&publish(4, &format!("{REGISTER}1"), b"{}"))
        .await;
    client.expect(b"\x40\x02\x00\x04").await;
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
}

#[tokio::test]
async fn several_at_once_are_answered_in_their_order() {
    let dps = Dps::with_device().await;
    let mut client = connected(&dps).await;
    let filters = [("$iothub/#", 0), (FILTER, 2), ("a", 1), (FILTER, 0)];
    client.send(&subscribe(2, &filters)).await;
    client.expect(b"\x90\x06\x00\x02\x80\x01\x80\x00").await;
}

#[tokio::test]
async fn responses_come_at_the_quality_that_was_granted() {
    let dps = Dps::with_device().await;
    let mut client = connected(&dps).await;
    for (qos, first, has_id) in [(0, 0x30, false), (1, 0x32, true), (2, 0x32, true)] {
        client.send(&subscribe(2, &[(FILTER, qos)])).await;
        client.packet().await;
        let response = client.ask(&format!("{REGISTER}1"), b"{}").await;
        assert_eq!(response.first, first);
        assert_eq!(response.packet_id.is_some(), has_id);
    }
}

#[tokio::test]
async fn packet_ids_are_never_zero_and_never_twice() {
    let dps = Dps::with_device().await;
    let mut client = connected(&dps).await;
    client.subscribe().await;
    for expected in 1..=3 {
        let response = client.ask(&format!("{REGISTER}1"), b"{}").await;
        assert_eq!(response.packet_id, Some(expected));
    }
}

#[tokio::test]
async fn no_response_without_a_subscription() {
    let dps = Dps::with_device().await;
    let mut client = connected(&dps).await;
    client
        .send(&publish(4, &format!("{REGISTER}1"), b"{}"))
        .await;
    client.expect(b"\x40\x02\x00\x04").await;
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
    // The topic filter was removed.
    client.subscribe().await;
    let document = client.provision().await;
    assert_eq!(document["status"], "assigned", "{document}");
}

#[tokio::test]
async fn no_response_after_unsubscribing() {
    let dps = Dps::with_device().await;
    let mut client = connected(&dps).await;
    client.subscribe().await;
    client.send(&unsubscribe(8, &["other/#", FILTER])).await;
    client.expect(b"\xB0\x02\x00\x08").await;
    client
        .send(&publish(4, &format!("{REGISTER}1"), b"{}"))
        .await;
    client.expect(b"\x40\x02\x00\x04").await;
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
    client.subscribe().await;
    client.provision().await;
}

#[tokio::test]
async fn unsubscribing_from_something_else_changes_nothing() {
    let dps = Dps::with_device().await;
    let mut client = connected(&dps).await;
    client.subscribe().await;
    client.send(&unsubscribe(8, &["$dps/#"])).await;
    client.expect(b"\xB0\x02\x00\x08").await;
    client.provision().await;
}

#[tokio::test]
async fn a_subscription_ends_with_its_connection() {
    let dps = Dps::with_device().await;
    let connect = Connect {
        clean_session: false,
        ..Connect::with_key("dev-1", KEY_1)
    };
    let mut first = dps.mqtt().await;
    first.connect(&connect).await;
    first.subscribe().await;
    first.send(b"\xE0\x00").await;
    first.closed().await;
    let mut second = dps.mqtt().await;
    second.connect(&connect).await;
    second
        .send(&publish(4, &format!("{REGISTER}1"), b"{}"))
        .await;
    second.expect(b"\x40\x02\x00\x04").await;
    second.send(PINGREQ).await;
    second.expect(PINGRESP).await;
}

/// MQTT-3.8.3-3, MQTT-3-8.3-4, MQTT-3.8.1-1 and MQTT-2.3.1-1.
#[tokio::test]
async fn subscriptions_that_are_not_mqtt() {
    let dps = Dps::with_device().await;
    for packet in [
        &b"\x82\x02\x00\x01"[..],
        b"\x82\x06\x00\x01\x00\x01a\x03",
        b"\x82\x06\x00\x01\x00\x01a\x81",
        b"\x80\x06\x00\x01\x00\x01a\x01",
        b"\x82\x06\x00\x00\x00\x01a\x01",
        b"\x82\x07\x00\x01\x00\x02#a\x01",
        b"\x82\x05\x00\x01\x00\x00\x01",
        b"\x82\x04\x00\x01\x00\x09",
        b"\xA2\x02\x00\x01",
        b"\xA0\x05\x00\x01\x00\x01a",
    ] {
        let mut client = connected(&dps).await;
        client.send(packet).await;
        client.closed().await;
    }
}
