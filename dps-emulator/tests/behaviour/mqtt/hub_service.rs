//! Direct methods and cloud-to-device messages through the hub's REST API.

use serde_json::{Value, json};

use crate::common::{Dps, PINGREQ, PINGRESP, publish, subscribe};

#[tokio::test]
async fn a_method_is_invoked() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    client
        .send(&subscribe(3, &[("$iothub/methods/POST/#", 0)]))
        .await;
    client.expect(b"\x90\x03\x00\x03\x00").await;
    let body = json!({
        "methodName": "reboot",
        "responseTimeoutInSeconds": 30,
        "connectTimeoutInSeconds": 0,
        "payload": { "delay": 5 },
    });
    let request = dps.hub_request("POST", "/twins/dev-1/methods").json(&body);
    let (answer, ()) = tokio::join!(dps.ask_hub(request), async {
        let request = client.response().await;
        assert_eq!(request.topic, "$iothub/methods/POST/reboot/?$rid=1");
        assert_eq!(request.json(), json!({ "delay": 5 }));
        let topic = "$iothub/methods/res/207/?$rid=1";
        client.send(&publish(4, topic, b"[1]")).await;
        client.expect(b"\x40\x02\x00\x04").await;
    });
    assert_eq!(
        (answer.0, answer.2),
        (200, json!({ "status": 207, "payload": [1] }))
    );
}

#[tokio::test]
async fn methods_that_cannot_be_invoked() {
    let dps = Dps::with_assigned(Value::Null).await;
    for (id, body, status, message) in [
        (
            "dev-1",
            json!({ "methodName": "reboot" }),
            404,
            "ErrorCode:DeviceNotOnline;Timed out waiting for device to connect.",
        ),
        (
            "dev-2",
            json!({ "methodName": "reboot" }),
            404,
            "ErrorCode:DeviceNotFound;Device dev-2 is not registered",
        ),
        (
            "dev-1/modules/m",
            json!({ "methodName": "reboot" }),
            404,
            "ErrorCode:ModuleNotFound;Module dev-1/m is not registered",
        ),
        (
            "dev-1",
            json!({ "methodName": "reboot", "responseTimeoutInSeconds": 4 }),
            400,
            "ErrorCode:ArgumentInvalid;responseTimeoutInSeconds must be 5 to 300, and is 4.",
        ),
        (
            "dev-1",
            json!({ "payload": 1 }),
            400,
            "ErrorCode:ArgumentInvalid;missing field `methodName` at line 1 column 13",
        ),
    ] {
        let path = format!("/twins/{id}/methods");
        let request = dps.hub_request("POST", &path).json(&body);
        let (answered, _, document) = dps.ask_hub(request).await;
        assert_eq!((answered, &document["Message"]), (status, &json!(message)));
    }
}

#[tokio::test]
async fn a_message_is_sent_and_its_feedback_received() {
    let dps = Dps::with_assigned(Value::Null).await;
    let request = dps
        .hub_request("POST", "/messages/devicebound")
        .header("iothub-to", "/devices/dev-1/messages/devicebound")
        .header("iothub-messageid", "m1")
        .header("iothub-ack", "full")
        .header("iothub-contenttype", "application/json")
        .header("iothub-app-Site", "north")
        .body("{\"on\":true}");
    assert_eq!(dps.ask_hub(request).await.0, 204);
    let feedback = "/messages/servicebound/feedback";
    let (status, _, _) = dps.ask_hub(dps.hub_request("GET", feedback)).await;
    assert_eq!(status, 204, "nothing has happened to the message");

    let mut client = dps.at_hub().await;
    client.listen("devices/dev-1/messages/devicebound/#").await;
    let received = client.response().await;
    for property in [
        "%24.mid=m1",
        "%24.ct=application%2Fjson",
        "site=north",
        "iothub-ack=full",
    ] {
        assert!(received.topic.contains(property), "{received:?}");
    }
    assert_eq!(received.json(), json!({ "on": true }));
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;

    let (status, token, batch) = dps.ask_hub(dps.hub_request("GET", feedback)).await;
    assert_eq!(status, 200);
    let token = token.expect("a lock token");
    assert_eq!(batch[0]["originalMessageId"], "m1", "{batch}");
    assert_eq!(batch[0]["statusCode"], "Success", "{batch}");
    let settle = async |method: &str, token: &str, below: &str| {
        let path = format!("{feedback}/{token}{below}");
        dps.ask_hub(dps.hub_request(method, &path)).await.0
    };
    assert_eq!(settle("POST", &token, "/abandon").await, 204);
    assert_eq!(settle("DELETE", &token, "").await, 412);
    let (_, token, again) = dps.ask_hub(dps.hub_request("GET", feedback)).await;
    assert_eq!(again, batch);
    assert_eq!(settle("DELETE", &token.expect("a token"), "").await, 204);
    let (status, _, _) = dps.ask_hub(dps.hub_request("GET", feedback)).await;
    assert_eq!(status, 204);
}

#[tokio::test]
async fn messages_that_cannot_be_sent() {
    let dps = Dps::with_assigned(Value::Null).await;
    let send = async |name: &str, value: &str, body: Vec<u8>| {
        let request = dps.hub_request("POST", "/messages/devicebound");
        let request = request.header(name, value).body(body);
        let (status, _, document) = dps.ask_hub(request).await;
        (status, document["Message"].to_string())
    };
    let to = "/devices/dev-1/messages/devicebound";
    assert_eq!(send("x-nothing", "", Vec::new()).await.0, 400);
    assert_eq!(send("iothub-to", "dev-1", Vec::new()).await.0, 400);
    let other = "/devices/dev-2/messages/devicebound";
    assert_eq!(send("iothub-to", other, Vec::new()).await.0, 404);
    let large = vec![b'x'; 64 * 1024 + 1];
    assert_eq!(send("iothub-to", to, large).await.0, 413);
    for _ in 0..50 {
        assert_eq!(send("iothub-to", to, Vec::new()).await.0, 204);
    }
    let (status, message) = send("iothub-to", to, Vec::new()).await;
    assert_eq!(status, 403);
    assert!(
        message.contains("DeviceMaximumQueueDepthExceeded"),
        "{message}"
    );
    let purge = dps.hub_request("DELETE", "/devices/dev-1/commands");
    let (status, _, document) = dps.ask_hub(purge).await;
    assert_eq!(
        (status, &document["totalMessagesPurged"]),
        (200, &json!(50))
    );
    assert_eq!(
        dps.default_hub()
            .queued_messages("dev-1")
            .await
            .expect("read"),
        0
    );
}
