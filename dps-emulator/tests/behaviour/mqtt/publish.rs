//! PUBLISH: the topics, the topic of an answer, and packets that end the connection.

use crate::common::{Dps, PINGREQ, PINGRESP, REGISTER, STATUS, publish, publish_at_most_once};

#[tokio::test]
async fn the_acknowledgement_comes_before_the_response() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    client
        .send(&publish(0xABCD, &format!("{REGISTER}1"), b"{}"))
        .await;
    let (first, body) = client.packet().await;
    assert_eq!((first, &body[..]), (0x40, &b"\xAB\xCD"[..]));
    client.response().await;
}

/// Java's SDK misses an answer that arrives within a millisecond of its request.
#[tokio::test]
async fn an_answer_is_delayed_when_asked_for() {
    let delay = std::time::Duration::from_millis(200);
    let dps = Dps::start_with(|builder| builder.mqtt_answer_delay(delay)).await;
    dps.enroll("dev-1").await;
    let mut client = dps.mqtt_device("dev-1").await;
    let sent = std::time::Instant::now();
    client
        .send(&publish(7, &format!("{REGISTER}1"), b"{}"))
        .await;
    client.packet().await;
    client.response().await;
    assert!(sent.elapsed() >= delay, "{:?}", sent.elapsed());
}

/// As the C SDK does.
#[tokio::test]
async fn at_most_once_is_answered_without_acknowledgement() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let body = br#"{"registrationId":"dev-1"}"#;
    client
        .send(&publish_at_most_once(&format!("{REGISTER}1"), body))
        .await;
    let begun = client.response().await;
    assert_eq!(
        begun.topic,
        "$dps/registrations/res/202/?$rid=1&retry-after=0"
    );
    let operation = begun.json()["operationId"].clone();
    let operation = operation.as_str().expect("an id");
    // It polls with the whole register body again.
    let poll = format!("{STATUS}2&operationId={operation}");
    loop {
        client.send(&publish_at_most_once(&poll, body)).await;
        let response = client.response().await;
        if response.topic == "$dps/registrations/res/200/?$rid=2" {
            assert_eq!(response.json()["status"], "assigned");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_request_id_comes_back_as_it_was() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let long = "x".repeat(1024);
    for rid in [
        "1",
        "0",
        "a:b",
        "6fb10b3a-9dc4-4d4b-8d4c-8f0a3d6b5f2e",
        "%26",
        "%2f%2F",
        "a=b",
        "a/b?c",
        "~._-!*'();@,[]{}|\"",
        "with space",
        "Grüße-日本",
        "",
        &long,
    ] {
        let response = client.ask(&format!("{REGISTER}{rid}"), b"{}").await;
        assert_eq!(
            response.topic,
            format!("$dps/registrations/res/202/?$rid={rid}&retry-after=0")
        );
        client
            .finish(response.json()["operationId"].as_str().expect("an id"))
            .await;
    }
}

/// Otherwise the topic of the answer could be too long, and the client would receive neither an acknowledgement nor an answer.
#[tokio::test]
async fn a_request_id_that_is_too_long_ends_the_connection() {
    let dps = Dps::with_device().await;
    for length in [1025, 60_000] {
        let mut client = dps.mqtt_device("dev-1").await;
        let topic = format!("{REGISTER}{}", "x".repeat(length));
        client.send(&publish(7, &topic, b"{}")).await;
        client.closed().await;
    }
    let mut client = dps.mqtt_device("dev-1").await;
    assert_eq!(client.provision().await["status"], "assigned");
}

#[tokio::test]
async fn parameters_in_any_order() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let operation = client.register(b"{}").await;
    client.finish(&operation).await;
    let topic = format!(
        "$dps/registrations/GET/iotdps-get-operationstatus/?operationId={operation}&$rid=5"
    );
    let response = client.ask(&topic, b"").await;
    assert_eq!(response.topic, "$dps/registrations/res/200/?$rid=5");
}

/// The client may mark what it sends again.
#[tokio::test]
async fn a_duplicate_is_a_request_like_any() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let mut packet = publish(9, &format!("{REGISTER}1"), b"{}");
    packet[0] = 0x3A;
    for _ in 0..2 {
        client.send(&packet).await;
        client.expect(b"\x40\x02\x00\x09").await;
        assert!(
            client
                .response()
                .await
                .topic
                .ends_with("?$rid=1&retry-after=0")
        );
        client.send(PINGREQ).await;
        client.expect(PINGRESP).await;
    }
}

#[tokio::test]
async fn an_operation_that_does_not_exist() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let unknown = "5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550";
    for _ in 0..2 {
        let response = client
            .ask(&format!("{STATUS}x&operationId={unknown}"), b" ")
            .await;
        assert_eq!(response.topic, "$dps/registrations/res/404/?$rid=x");
        response.assert_error(404_001, "Operation not found.");
        client.provision().await;
    }
}

#[tokio::test]
async fn an_operation_of_another_device() {
    let dps = Dps::with_device().await;
    dps.enroll("dev-2").await;
    let theirs = dps.mqtt_device("dev-2").await.register(b"{}").await;
    let mut client = dps.mqtt_device("dev-1").await;
    let response = client
        .ask(&format!("{STATUS}x&operationId={theirs}"), b" ")
        .await;
    assert_eq!(response.topic, "$dps/registrations/res/404/?$rid=x");
}

#[tokio::test]
async fn two_requests_without_waiting() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let both = [
        publish(21, &format!("{REGISTER}first"), b"{}"),
        publish(22, &format!("{REGISTER}second"), b"{}"),
    ];
    client.send(&both.concat()).await;
    let mut operations = Vec::new();
    for (ack, rid) in [
        (b"\x40\x02\x00\x15", "first"),
        (b"\x40\x02\x00\x16", "second"),
    ] {
        client.expect(ack).await;
        let response = client.response().await;
        assert_eq!(
            response.topic,
            format!("$dps/registrations/res/202/?$rid={rid}&retry-after=0")
        );
        operations.push(
            response.json()["operationId"]
                .as_str()
                .expect("an id")
                .to_owned(),
        );
    }
    let document = client.finish(&operations[1]).await;
    assert_eq!(document["status"], "assigned", "{document}");
}

#[tokio::test]
async fn one_registration_after_the_other_on_one_connection() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    for _ in 0..3 {
        let document = client.provision().await;
        assert_eq!(document["status"], "assigned", "{document}");
    }
}

#[tokio::test]
async fn another_topic_ends_the_connection() {
    let dps = Dps::with_device().await;
    for topic in [
        "a",
        "devices/dev-1/messages/events/",
        "$dps/registrations/PUT/iotdps-register/",
        "$dps/registrations/PUT/iotdps-register/?rid=1",
        "$dps/registrations/put/iotdps-register/?$rid=1",
        "$dps/registrations/PUT/iotdps-unregister/?$rid=1",
        "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1",
        "$dps/registrations/res/200/?$rid=1",
        "$iothub/twin/GET/?$rid=1",
    ] {
        let mut client = dps.mqtt_device("dev-1").await;
        client.send(&publish_at_most_once(topic, b"{}")).await;
        client.closed().await;
    }
}

#[tokio::test]
async fn exactly_once_ends_the_connection() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let mut packet = publish(9, &format!("{REGISTER}1"), b"{}");
    packet[0] = 0x34;
    client.send(&packet).await;
    client.closed().await;
}

/// MQTT-3.3.1-4, MQTT-3.3.2-2, MQTT-4.7.3-1, MQTT-2.3.1-1 and MQTT-1.5.3-1.
#[tokio::test]
async fn publishes_that_are_not_mqtt() {
    let dps = Dps::with_device().await;
    let wildcard = publish_at_most_once(&format!("{REGISTER}1#"), b"{}");
    let no_id = publish(0, &format!("{REGISTER}1"), b"{}");
    for packet in [
        &wildcard[..],
        &no_id,
        b"\x36\x05\x00\x01a\x00\x01",
        b"\x30\x02\x00\x00",
        b"\x30\x03\x00\x09a",
        b"\x30\x04\x00\x02\xC3\x28",
        b"\x30\x03\x00\x01\x00",
        b"\x32\x03\x00\x01a",
        b"\x30\x00",
    ] {
        let mut client = dps.mqtt_device("dev-1").await;
        client.send(packet).await;
        client.closed().await;
    }
}

/// MQTT does not set the time at which a client acknowledges.
#[tokio::test]
async fn responses_that_are_never_acknowledged() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let unknown = "5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550";
    let topic = format!("{STATUS}x&operationId={unknown}");
    for _ in 0..100 {
        client.send(&publish(3, &topic, b" ")).await;
        client.expect(b"\x40\x02\x00\x03").await;
        assert_eq!(client.packet().await.0, 0x32);
    }
}
