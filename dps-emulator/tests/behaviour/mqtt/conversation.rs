//! One registration, every byte of it typed from the standard and Microsoft's documentation.

use std::time::Duration;

use serde_json::json;

use crate::common::{ACCEPTED, DISCONNECT, Dps, KEY_1, KEY_2, key_enrollment};

/// CONNECT of 221 bytes: level 4, clean session, username, password, keep-alive 60.
const CONNECT: &[u8] = b"\x10\xDD\x01\x00\x04MQTT\x04\xC2\x00\x3C\
    \x00\x05dev-1\
    \x00\x360ne00000001/registrations/dev-1/api-version=2019-03-31\
    \x00\x92SharedAccessSignature sr=0ne00000001%2Fregistrations%2Fdev-1\
    &sig=TcBpciTwY2PEcy%2ByNVgZ6LHFI1XZfOLA7rMecBg%2BhaI%3D&se=4102444800&skn=registration";
const SUBSCRIBE: &[u8] = b"\x82\x1D\x00\x01\x00\x18$dps/registrations/res/#\x01";
const SUBACK: &[u8] = b"\x90\x03\x00\x01\x01";
const REGISTER: &[u8] =
    b"\x32\x4C\x00\x2E$dps/registrations/PUT/iotdps-register/?$rid=1\x00\x02{\"registrationId\":\"dev-1\"}";
const REGISTER_ACK: &[u8] = b"\x40\x02\x00\x02";
const UNSUBSCRIBE: &[u8] = b"\xA2\x1C\x00\x09\x00\x18$dps/registrations/res/#";
const UNSUBACK: &[u8] = b"\xB0\x02\x00\x09";

async fn dps() -> Dps {
    let dps = Dps::start_with(|builder| builder.retry_after(Duration::from_secs(3))).await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps
}

#[tokio::test]
async fn a_registration_byte_for_byte() {
    let dps = dps().await;
    let mut client = dps.mqtt().await;
    client.send(CONNECT).await;
    client.expect(ACCEPTED).await;
    client.send(SUBSCRIBE).await;
    client.expect(SUBACK).await;

    client.send(REGISTER).await;
    client.expect(REGISTER_ACK).await;
    let begun = client.response().await;
    assert_eq!(begun.first, 0x32);
    assert_eq!(begun.packet_id, Some(1));
    assert_eq!(
        begun.topic,
        "$dps/registrations/res/202/?$rid=1&retry-after=3"
    );
    let text = String::from_utf8(begun.body).expect("text");
    let operation = text
        .strip_prefix(r#"{"operationId":""#)
        .and_then(|rest| rest.strip_suffix(r#"","status":"assigning"}"#))
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!(operation.len(), 55, "{operation}");

    let document = loop {
        let mut poll = b"\x32\x82\x01\x00\x7D\
            $dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId="
            .to_vec();
        poll.extend(operation.as_bytes());
        poll.extend(b"\x00\x03 ");
        client.send(&poll).await;
        client.expect(b"\x40\x02\x00\x03").await;
        let response = client.response().await;
        if response.topic == "$dps/registrations/res/200/?$rid=2" {
            break response.json();
        }
        assert_eq!(
            response.topic,
            "$dps/registrations/res/202/?$rid=2&retry-after=3"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(document["operationId"], operation);
    assert_eq!(document["status"], "assigned");
    let state = &document["registrationState"];
    assert_eq!(state["registrationId"], "dev-1");
    assert_eq!(state["assignedHub"], "127.0.0.1");
    assert_eq!(state["deviceId"], "dev-1");
    assert_eq!(state["status"], "assigned");
    assert_eq!(state["substatus"], "initialAssignment");
    assert_eq!(state["symmetricKey"], json!({}));

    client.send(UNSUBSCRIBE).await;
    client.expect(UNSUBACK).await;
    client.send(DISCONNECT).await;
    client.closed().await;
}

#[tokio::test]
async fn every_byte_in_a_segment_of_its_own() {
    let dps = dps().await;
    let mut client = dps.mqtt().await;
    for byte in [CONNECT, SUBSCRIBE, REGISTER].concat() {
        client.send(&[byte]).await;
    }
    client.expect(ACCEPTED).await;
    client.expect(SUBACK).await;
    client.expect(REGISTER_ACK).await;
    assert!(client.response().await.topic.contains("/res/202/"));
}

#[tokio::test]
async fn all_packets_at_once() {
    let dps = dps().await;
    let mut client = dps.mqtt().await;
    let all = [CONNECT, SUBSCRIBE, REGISTER, UNSUBSCRIBE, DISCONNECT].concat();
    client.send(&all).await;
    client.expect(ACCEPTED).await;
    client.expect(SUBACK).await;
    client.expect(REGISTER_ACK).await;
    assert!(client.response().await.topic.contains("/res/202/"));
    client.expect(UNSUBACK).await;
    client.closed().await;
}

/// MQTT 3.1.1 does not ask for the shortest form of a length.
#[tokio::test]
async fn a_length_in_more_digits_than_it_needs() {
    let dps = dps().await;
    let mut client = dps.mqtt().await;
    client.send(CONNECT).await;
    client.expect(ACCEPTED).await;
    client.send(b"\xC0\x80\x00").await;
    client.expect(b"\xD0\x00").await;
}
