//! MQTT topics of a connected device that are about another registration, or that two readers could read in different ways.

use serde_json::json;

use super::is_registered;
use super::mqtt_connects::with_two_devices;
use crate::common::{
    Client, Connect, FILTER, KEY_1, KEY_3, REGISTER, STATUS, Transport, publish, subscribe,
};

/// Topics of a connected device. Each ends the connection, is answered with an error, or is about the device itself.
#[tokio::test]
async fn no_topic_is_about_another_registration() {
    let dps = with_two_devices().await;
    let target = dps.device("dev-1").key(KEY_1).register().await.json()["operationId"].clone();
    let target = target.as_str().expect("an operation id");
    dps.device("dev-1").key(KEY_1).finish(target).await;
    let mut own = dps.mqtt().await;
    own.connect(&Connect::with_key("dev-2", KEY_3)).await;
    own.subscribe().await;
    let own = own.register(b"{}").await;
    for (name, topic) in [
        (
            "the operation of the target",
            format!("{STATUS}1&operationId={target}"),
        ),
        (
            "two operations, its own first",
            format!("{STATUS}1&operationId={own}&operationId={target}"),
        ),
        (
            "two operations, its own last",
            format!("{STATUS}1&operationId={target}&operationId={own}"),
        ),
        (
            "two operations in another case",
            format!("{STATUS}1&operationId={own}&OPERATIONID={target}"),
        ),
        ("no operation", format!("{STATUS}1")),
        (
            "a path after the operation",
            format!("{STATUS}1&operationId={own}/../{target}"),
        ),
        ("two request ids", format!("{REGISTER}1&$rid=2")),
        (
            "the registration of another device",
            "$dps/registrations/dev-1/PUT/iotdps-register/?$rid=1".to_owned(),
        ),
        (
            "another method",
            "$dps/registrations/DELETE/iotdps-register/?$rid=1".to_owned(),
        ),
        (
            "another operation",
            "$dps/registrations/PUT/iotdps-delete/?$rid=1".to_owned(),
        ),
        (
            "a topic of the answers",
            "$dps/registrations/res/202/?$rid=1".to_owned(),
        ),
        (
            "a path up",
            "$dps/registrations/PUT/../PUT/iotdps-register/?$rid=1".to_owned(),
        ),
        ("telemetry", "devices/dev-1/messages/events/".to_owned()),
        ("a twin", "$iothub/twin/GET/?$rid=1".to_owned()),
    ] {
        let mut client = dps.mqtt().await;
        topic_is_refused(&mut client, name, &topic).await;
        let mut client = dps.websocket().await;
        topic_is_refused(&mut client, name, &topic).await;
    }
    for filter in [
        "#",
        "+/#",
        "$dps/#",
        "$dps/registrations/#",
        "$dps/registrations/res/+/#",
        "$dps/registrations/res/202/#",
        "devices/dev-1/messages/devicebound/#",
        "$SYS/#",
        "$share/a/$dps/registrations/res/#",
    ] {
        let mut client = dps.mqtt().await;
        client.connect(&Connect::with_key("dev-2", KEY_3)).await;
        client.send(&subscribe(6, &[(filter, 1)])).await;
        client.expect(b"\x90\x03\x00\x06\x80").await;
    }
    // The body does not change the device.
    for body in [
        json!({ "registrationId": "dev-1" }).to_string(),
        r#"{"registrationId":"dev-2","RegistrationId":"dev-1"}"#.to_owned(),
    ] {
        let mut client = dps.mqtt().await;
        client.connect(&Connect::with_key("dev-2", KEY_3)).await;
        client.subscribe().await;
        let answer = client.ask(&format!("{REGISTER}1"), body.as_bytes()).await;
        assert!(
            answer.topic.starts_with("$dps/registrations/res/400/"),
            "{answer:?}"
        );
    }
    assert!(is_registered(&dps).await);
}

async fn topic_is_refused<C: Transport>(client: &mut Client<C>, name: &str, topic: &str) {
    client.connect(&Connect::with_key("dev-2", KEY_3)).await;
    client.send(&subscribe(1, &[(FILTER, 1)])).await;
    client.expect(b"\x90\x03\x00\x01\x01").await;
    client.send(&publish(2, topic, b"{}")).await;
    let Some(first) = client.transport_answer().await else {
        return;
    };
    // The acknowledgement, and after it or with it the response.
    assert!(first.starts_with(b"\x40\x02\x00\x02"), "{name}: {first:?}");
    let answer = match &first[4..] {
        [] => client.transport_answer().await.unwrap_or_default(),
        rest => rest.to_vec(),
    };
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.contains("$dps/registrations/res/404/"),
        "{name}: {answer}"
    );
}
