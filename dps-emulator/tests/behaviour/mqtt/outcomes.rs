//! The outcomes of a registration, which are the same over MQTT and HTTPS.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::common::{
    Connect, Dps, KEY_1, KEY_2, REGISTER, STATUS, TestClock, key_enrollment, token_until, with,
};

/// Answers every request with this until the set is dropped, and returns the requests through the set.
async fn webhook(answer: &'static str) -> (String, JoinSet<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (stream, _) = listener.accept().await.expect("a request");
        let mut stream = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while stream.read_line(&mut line).await.expect("a head") > 2 {
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("a body");
        let length = answer.len();
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}");
        stream.write_all(text.as_bytes()).await.expect("answered");
        serde_json::from_slice(&body).expect("JSON")
    });
    (format!("http://{address}/api/allocate"), server)
}

#[tokio::test]
async fn a_payload_is_sent_and_another_is_returned() {
    let dps = Dps::start().await;
    let answer = "{\"iotHubHostName\":\"127.0.0.1\",\
        \"payload\":{\"grüße\":\"日本 🦀 \\u0000\\\"\",\"list\":[1,2.50,null,true],\"z\":1,\"a\":2}}";
    let (url, mut asked) = webhook(answer).await;
    let definition = json!({ "webhookUrl": url, "apiVersion": "2021-10-01" });
    let document = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({ "allocationPolicy": "custom" }),
    );
    let document = with(
        document,
        json!({ "customAllocationDefinition": definition }),
    );
    dps.create("/enrollments/dev-1", &document).await;

    let mut client = dps.mqtt_device("dev-1").await;
    let sent = "{\"payload\":{\"übergröße\":\"é😀\",\"n\":1e3}}";
    let operation = client.register(sent.as_bytes()).await;
    client.finish(&operation).await;
    let asked = asked.join_next().await.expect("asked").expect("answered");
    assert_eq!(
        asked["deviceRuntimeContext"]["payload"],
        json!({ "übergröße": "é😀", "n": 1e3 })
    );
    let topic = format!("{STATUS}p&operationId={operation}");
    let response = client.ask(&topic, b" ").await;
    let text = String::from_utf8(response.body).expect("text");
    let payload = "\"payload\":{\"grüße\":\"日本 🦀 \\u0000\\\"\",\"list\":[1,2.5,null,true],\"z\":1,\"a\":2}";
    assert!(text.contains(payload), "{text}");
}

#[tokio::test]
async fn a_disabled_enrollment() {
    let dps = Dps::start().await;
    let document = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({ "provisioningStatus": "disabled" }),
    );
    dps.create("/enrollments/dev-1", &document).await;
    let mut client = dps.mqtt_device("dev-1").await;
    let response = client.ask(&format!("{REGISTER}1"), b"{}").await;
    assert_eq!(response.topic, "$dps/registrations/res/200/?$rid=1");
    let document = response.json();
    assert_eq!(document["operationId"], "");
    assert_eq!(document["status"], "disabled");
    let state = &document["registrationState"];
    assert_eq!(state["registrationId"], "dev-1");
    assert_eq!(state["status"], "disabled");
    assert_eq!(state.get("assignedHub"), None);
}

#[tokio::test]
async fn a_registration_that_fails() {
    let dps = Dps::start().await;
    let (url, _asked) = webhook("no JSON at all").await;
    let definition = json!({ "webhookUrl": url, "apiVersion": "2021-10-01" });
    let document = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({ "allocationPolicy": "custom" }),
    );
    let document = with(
        document,
        json!({ "customAllocationDefinition": definition }),
    );
    dps.create("/enrollments/dev-1", &document).await;
    let document = dps.mqtt_device("dev-1").await.provision().await;
    assert_eq!(document["status"], "failed", "{document}");
    let state = &document["registrationState"];
    assert_eq!(state["status"], "failed", "{document}");
    assert!(state["errorCode"].is_u64(), "{document}");
    assert!(state["errorMessage"].is_string(), "{document}");
}

#[tokio::test]
async fn an_assignment_that_takes_its_time() {
    let dps = Dps::start_with(|builder| {
        let builder = builder.retry_after(Duration::from_secs(7));
        builder.assign_delay(Duration::from_secs(2))
    })
    .await;
    dps.enroll("dev-1").await;
    let mut client = dps.mqtt_device("dev-1").await;
    let begun = client.ask(&format!("{REGISTER}1"), b"{}").await;
    let document = begun.json();
    let operation = document["operationId"].as_str().expect("an id");
    let topic = format!("{STATUS}2&operationId={operation}");

    let response = client.ask(&topic, b" ").await;
    assert_eq!(
        response.topic,
        "$dps/registrations/res/202/?$rid=2&retry-after=7"
    );
    let document = response.json();
    assert_eq!(document["operationId"], operation);
    assert_eq!(document["status"], "assigning");
    // A second registration joins the first.
    let again = client.ask(&format!("{REGISTER}3"), b"{}").await;
    assert_eq!(again.json()["operationId"], operation);
    loop {
        let response = client.ask(&topic, b" ").await;
        if response.topic == "$dps/registrations/res/200/?$rid=2" {
            assert_eq!(response.json()["status"], "assigned");
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn begun_over_mqtt_and_ended_over_https() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let operation = client.register(b"{}").await;
    let here = client.finish(&operation).await;
    let there = dps.device("dev-1").key(KEY_1).poll(&operation).await;
    assert_eq!(there.status, 200, "{there:?}");
    assert_eq!(there.json(), here);
}

#[tokio::test]
async fn begun_over_https_and_ended_over_mqtt() {
    let dps = Dps::with_device().await;
    let accepted = dps.device("dev-1").key(KEY_1).register().await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let document = accepted.json();
    let operation = document["operationId"].as_str().expect("an id");
    for document in [
        dps.mqtt_device("dev-1").await.finish(operation).await,
        dps.connected_websocket("dev-1")
            .await
            .finish(operation)
            .await,
    ] {
        assert_eq!(document["status"], "assigned", "{document}");
        assert_eq!(document["operationId"], operation);
    }
}

#[tokio::test]
async fn an_enrollment_that_is_deleted_during_the_connection() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let deleted = dps.delete("/enrollments/dev-1").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let response = client.ask(&format!("{REGISTER}1"), b"{}").await;
    assert_eq!(response.topic, "$dps/registrations/res/401/?$rid=1");
    assert_eq!(response.json()["errorCode"], 401_002);
}

#[tokio::test]
async fn a_token_that_expires_during_the_connection() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(Arc::new(clock.clone()))).await;
    dps.enroll("dev-1").await;
    let token = token_until("dev-1", KEY_1, clock.unix() + 60);
    let mut client = dps.mqtt().await;
    client.connect(&Connect::of("dev-1").password(&token)).await;
    client.subscribe().await;
    let operation = client.register(b"{}").await;

    clock.advance(Duration::from_secs(24 * 60 * 60));
    let poll = format!("{STATUS}2&operationId={operation}");
    for topic in [format!("{REGISTER}2"), poll] {
        let response = client.ask(&topic, b"").await;
        assert_eq!(response.topic, "$dps/registrations/res/401/?$rid=2");
        response.assert_error(401_002, "Unauthorized");
    }
}
