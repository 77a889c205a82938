//! Telemetry as a test reads it back: what the hub keeps, streams, and writes to a file.

use dps_emulator::{Telemetry, TelemetryMessage};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::common::{
    Client, Connect, Dps, KEY_1, KEY_2, TIMEOUT, Transport, key_enrollment, publish, subscribe,
};

const EVENTS: &str = "devices/dev-1/messages/events/";

/// The device `dev-1`, assigned to its hub, at an emulator with these options.
async fn start_with(
    choose: impl FnOnce(dps_emulator::EmulatorBuilder) -> dps_emulator::EmulatorBuilder,
) -> Dps {
    let dps = Dps::start_with(choose).await;
    let document = key_enrollment("dev-1", KEY_1, KEY_2);
    dps.create("/enrollments/dev-1", &document).await;
    dps.still_serves().await;
    dps
}

/// Sends telemetry, and waits until the hub has accepted it.
async fn send<C: Transport>(client: &mut Client<C>, topic: &str, body: &[u8]) {
    client.send(&publish(1, topic, body)).await;
    client.expect(b"\x40\x02\x00\x01").await;
}

fn bodies(messages: &[TelemetryMessage]) -> Vec<&[u8]> {
    messages.iter().map(TelemetryMessage::body).collect()
}

#[tokio::test]
async fn a_message_is_kept_with_its_properties() {
    let dps = start_with(|builder| builder).await;
    let mut client = dps.at_hub().await;
    let topic = format!("{EVENTS}%24.mid=m%201&$.ct=application%2Fjson&alarm=yes%26no&empty=");
    send(&mut client, &topic, b"{\"t\":21}").await;
    let kept = dps.default_hub().telemetry("dev-1");
    let [message] = kept.as_slice() else {
        panic!("one message: {kept:?}");
    };
    assert_eq!(message.sequence_number(), 1);
    assert_eq!(message.hub().as_str(), "127.0.0.1");
    assert_eq!(message.device_id().as_str(), "dev-1");
    assert_eq!(message.module_id(), None);
    assert_eq!(message.body(), b"{\"t\":21}");
    assert_eq!(message.system_property("message-id"), Some("m 1"));
    let content_type = message.system_property("content-type");
    assert_eq!(content_type, Some("application/json"));
    let properties: Vec<_> = message.properties().collect();
    assert_eq!(properties, [("alarm", "yes&no"), ("empty", "")]);
    let method = message.system_property("iothub-connection-auth-method");
    let method: Value = serde_json::from_str(method.expect("stamped")).expect("JSON");
    assert_eq!(
        (&method["scope"], &method["type"]),
        (&json!("device"), &json!("sas"))
    );
    let device = message.system_property("iothub-connection-device-id");
    assert_eq!(device, Some("dev-1"));
    assert!(dps.default_hub().telemetry("dev-2").is_empty());
}

#[tokio::test]
async fn a_retained_message_and_a_model_are_properties() {
    let dps = start_with(|builder| builder).await;
    let mut client = dps.mqtt().await;
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1).username(
        "127.0.0.1/dev-1/?api-version=2021-04-12&model-id=dtmi%3Acom%3Aexample%3AToaster%3B1",
    );
    client.connect(&connect).await;
    let mut retained = publish(1, EVENTS, b"1");
    retained[0] |= 1;
    client.send(&retained).await;
    client.expect(b"\x40\x02\x00\x01").await;
    let kept = dps.default_hub().telemetry("dev-1");
    assert_eq!(kept[0].property("mqtt-retain"), Some("true"));
    let model = kept[0].system_property("dt-dataschema");
    assert_eq!(model, Some("dtmi:com:example:Toaster;1"));
    let twin = dps.default_hub().twin("dev-1").await.expect("a twin");
    assert_eq!(twin["modelId"], "dtmi:com:example:Toaster;1");
}

#[tokio::test]
async fn the_number_of_kept_messages_is_an_option() {
    let dps = start_with(|builder| builder.kept_telemetry(2)).await;
    let mut client = dps.at_hub().await;
    for body in [b"1", b"2", b"3"] {
        send(&mut client, EVENTS, body).await;
    }
    assert_eq!(bodies(&dps.default_hub().telemetry("dev-1")), [b"2", b"3"]);
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 3);
}

#[tokio::test]
async fn a_stream_has_each_message_and_reports_those_it_missed() {
    let dps = start_with(|builder| builder.kept_telemetry(2)).await;
    let mut client = dps.at_hub().await;
    send(&mut client, EVENTS, b"before").await;
    let mut stream = dps.default_hub().telemetry_stream();
    let mut all = dps.emulator.telemetry_stream();
    assert_eq!(stream.try_next(), None);
    for body in [b"1", b"2", b"3", b"4"] {
        send(&mut client, EVENTS, body).await;
    }
    for stream in [&mut stream, &mut all] {
        assert_eq!(stream.next().await, Some(Telemetry::Missed(2)));
        for expected in [b"3", b"4"] {
            let Some(Telemetry::Message(message)) = stream.next().await else {
                panic!("a message");
            };
            assert_eq!(message.body(), expected);
        }
    }
    let waiting = tokio::spawn(async move { (stream.next().await, stream.next().await) });
    send(&mut client, EVENTS, b"5").await;
    dps.emulator.shutdown().await;
    let (last, end) = timeout(TIMEOUT, waiting)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(matches!(last, Some(Telemetry::Message(message)) if message.body() == b"5"));
    assert_eq!(end, None);
}

#[tokio::test]
async fn telemetry_is_appended_to_a_file_one_document_per_line() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("telemetry.ndjson");
    for (body, expected) in [("{\"t\":1}", json!({ "t": 1 })), ("[2]", json!([2]))] {
        let dps = start_with(|builder| builder.telemetry_file(&file)).await;
        let mut client = dps.at_hub().await;
        send(&mut client, &format!("{EVENTS}a=b"), body.as_bytes()).await;
        dps.emulator.shutdown().await;
        let text = std::fs::read_to_string(&file).expect("a file");
        let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!(last["deviceId"], "dev-1", "{last}");
        assert_eq!(last["properties"], json!({ "a": "b" }), "{last}");
        assert_eq!(last["body"], expected, "{last}");
    }
    let text = std::fs::read_to_string(&file).expect("a file");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_refused_at_the_start() {
    let dir = TempDir::new().expect("a directory");
    let builder = dps_emulator::Emulator::builder().telemetry_file(dir.path());
    let error = builder
        .start()
        .await
        .expect_err("a directory is not a file");
    assert_eq!(error.kind(), dps_emulator::ErrorKind::Configuration);
}

#[tokio::test]
async fn properties_count_towards_the_size_of_a_message() {
    let dps = start_with(|builder| builder).await;
    let mut client = dps.at_hub().await;
    let body = vec![b'x'; 256 * 1024 - 3];
    send(&mut client, &format!("{EVENTS}a=12&$.ct="), &body).await;
    client
        .send(&publish(2, &format!("{EVENTS}a=123"), &body))
        .await;
    client.closed().await;
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 1);
}

#[tokio::test]
async fn a_topic_with_properties_that_cannot_be_read_ends_the_connection() {
    let dps = start_with(|builder| builder).await;
    for properties in ["%FF=1", "=1", "a=1/b/c"] {
        let mut client = dps.at_hub().await;
        client
            .send(&publish(1, &format!("{EVENTS}{properties}"), b"x"))
            .await;
        client.closed().await;
    }
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 0);
}

#[tokio::test]
async fn a_repeated_subscription_does_not_count_twice() {
    let dps = start_with(|builder| builder).await;
    let mut client = dps.at_hub().await;
    let methods = ("$iothub/methods/POST/#", 0);
    client.send(&subscribe(1, &[methods; 8])).await;
    client
        .expect(b"\x90\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
        .await;
}
