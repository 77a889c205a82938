//! Cloud-to-device messages and direct methods that the control endpoint sends to a device.

use serde_json::{Value, json};

use crate::common::{
    Client, Control, Dps, KEY_1, PINGREQ, PINGRESP, Tls, publish, subscribe, with_control,
};

const DEVICE: &str = "/hubs/127.0.0.1/devices/dev-1";

async fn start() -> (Dps, Control) {
    let dps = Dps::start_with(with_control).await;
    dps.enroll("dev-1").await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    let control = Control::of(&dps);
    (dps, control)
}

async fn queued(control: &Control) -> Value {
    let answer = control.get(&format!("{DEVICE}/messages")).await;
    answer.json()["queued"].take()
}

async fn alive(client: &mut Client<Tls>) {
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
}

#[tokio::test]
async fn a_message_waits_for_the_device() {
    let (dps, control) = start().await;
    let path = format!("{DEVICE}/messages");
    let message = json!({
        "body": "turn on", "messageId": "m/1", "correlationId": "c", "contentType": "text/plain",
        "contentEncoding": "utf-8", "properties": { "site": "north & south" }, "ack": "full",
        "expiryTimeUtc": "2099-01-01T00:00:00Z",
    });
    let sent = control.send("POST", &path, &message).await;
    assert_eq!(sent.status, 204, "{sent:?}");
    let document = json!({ "body": { "on": true }, "messageId": "2" });
    assert_eq!(control.send("POST", &path, &document).await.status, 204);
    assert_eq!(queued(&control).await, 2);

    let mut client = dps.at_hub().await;
    client.listen("devices/dev-1/messages/devicebound/#").await;
    let received = client.response().await;
    assert_eq!(received.body, b"turn on");
    for property in [
        "%24.mid=m%2F1",
        "%24.cid=c",
        "%24.ct=text%2Fplain",
        "%24.ce=utf-8",
        "site=north%20%26%20south",
        "iothub-ack=full",
        "%24.exp=2099-01-01T00%3A00%3A00",
    ] {
        assert!(
            received.topic.contains(property),
            "{property}: {received:?}"
        );
    }
    assert_eq!(client.response().await.json(), json!({ "on": true }));
    alive(&mut client).await;
    assert_eq!(queued(&control).await, 0);
}

#[tokio::test]
async fn messages_that_are_not_valid_or_too_many_are_refused() {
    let (_dps, control) = start().await;
    let send = async |device: &str, body: Value| {
        let path = format!("/hubs/127.0.0.1/devices/{device}/messages");
        control.send("POST", &path, &body).await.status
    };
    assert_eq!(send("dev-9", json!({ "body": "a" })).await, 404);
    let unknown = control.get("/hubs/127.0.0.1/devices/dev-9/messages").await;
    assert_eq!(unknown.status, 404);
    for body in [
        json!({ "ack": "perhaps" }),
        json!({ "unknown": "a" }),
        json!({ "expiryTimeUtc": "tomorrow" }),
        json!({ "properties": { "a": 1 } }),
        json!({ "body": "x".repeat(64 * 1024 + 1) }),
    ] {
        assert_eq!(send("dev-1", body).await, 400);
    }
    for _ in 0..50 {
        assert_eq!(send("dev-1", json!({ "body": "a" })).await, 204);
    }
    assert_eq!(send("dev-1", json!({ "body": "a" })).await, 409);
}

#[tokio::test]
async fn a_method_is_invoked() {
    let (dps, control) = start().await;
    let mut client = dps.at_hub().await;
    client
        .send(&subscribe(3, &[("$iothub/methods/POST/#", 1)]))
        .await;
    client.expect(b"\x90\x03\x00\x03\x01").await;
    let path = format!("{DEVICE}/methods");
    let method = json!({ "methodName": "reboot", "payload": { "delay": 5 }, "responseTimeoutInSeconds": 60 });
    let device = async {
        let request = client.response().await;
        assert_eq!(request.topic, "$iothub/methods/POST/reboot/?$rid=1");
        assert_eq!(request.json(), json!({ "delay": 5 }));
        let topic = "$iothub/methods/res/202/?$rid=1";
        client.send(&publish(5, topic, b"{\"ok\":true}")).await;
        client.expect(b"\x40\x02\x00\x05").await;
    };
    let (answer, ()) = tokio::join!(control.send("POST", &path, &method), device);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.json(),
        json!({ "status": 202, "payload": { "ok": true } })
    );
}

#[tokio::test]
async fn a_method_that_cannot_be_invoked() {
    let (_dps, control) = start().await;
    let invoke = async |device: &str, method: Value| {
        let path = format!("/hubs/127.0.0.1/devices/{device}/methods");
        control.send("POST", &path, &method).await.status
    };
    let reboot = json!({ "methodName": "reboot" });
    assert_eq!(invoke("dev-9", reboot.clone()).await, 404);
    assert_eq!(invoke("dev-1", reboot).await, 409, "it is not connected");
    for method in [
        json!({}),
        json!({ "methodName": "" }),
        json!({ "methodName": "reboot", "responseTimeoutInSeconds": 1 }),
    ] {
        assert_eq!(invoke("dev-1", method).await, 400);
    }
}
