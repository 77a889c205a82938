//! Webhooks that fail: the registration fails, and reports the reason.

use std::sync::Mutex;

use dps_allocation::{Rejection, Webhook, from_fn};
use serde_json::json;
use tokio::net::TcpSocket;

use crate::common::linked;
use crate::common::{
    Device, Dps, Hook, KEY_1, KEY_2, assert_timestamp, key_enrollment, serve, with,
};

async fn device_of(dps: &Dps, url: &str) -> Device {
    let enrollment = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({
            "allocationPolicy": "custom",
            "customAllocationDefinition": { "webhookUrl": url, "apiVersion": "2021-10-01" },
        }),
    );
    dps.create("/enrollments/dev-1", &enrollment).await;
    dps.device("dev-1").key(KEY_1)
}

/// Code and message when the webhook answers this.
async fn failure(status: u16, body: &str) -> (u64, String) {
    let dps = Dps::start().await;
    let hook = Hook::saying(status, body).await;
    device_of(&dps, &hook.url).await.failed().await
}

#[tokio::test]
async fn any_status_but_200() {
    for status in [201, 202, 204, 302, 400, 401, 404, 429, 500, 503] {
        let body = match status {
            204 => "",
            _ => r#"{"iotHubHostName":"127.0.0.1"}"#,
        };
        assert_eq!(
            failure(status, body).await,
            (
                400_207,
                format!("Custom allocation failed with status code: {status}")
            )
        );
    }
}

#[tokio::test]
async fn a_failed_registration_has_the_documented_shape() {
    let dps = Dps::start().await;
    let hook = Hook::saying(400, "no").await;
    let device = device_of(&dps, &hook.url).await;
    let document = device.provision().await;
    let state = &document["registrationState"];
    assert_timestamp(&state["createdDateTimeUtc"]);
    assert_eq!(
        document,
        json!({
            "operationId": document["operationId"],
            "status": "failed",
            "registrationState": {
                "symmetricKey": {},
                "registrationId": "dev-1",
                "createdDateTimeUtc": state["createdDateTimeUtc"],
                "status": "failed",
                "errorCode": 400_207,
                "errorMessage": "Custom allocation failed with status code: 400",
                "lastUpdatedDateTimeUtc": state["lastUpdatedDateTimeUtc"],
                "etag": state["etag"],
            },
        })
    );
    let stored = dps.get("/registrations/dev-1").await.json();
    assert_eq!(stored["status"], "failed");
    assert_eq!(stored["errorCode"], 400_207);
    assert_eq!(device.lookup().await.json(), *state);
}

#[tokio::test]
async fn the_message_of_a_rejection_stays_with_the_webhook() {
    let dps = Dps::start().await;
    let policy = from_fn(|_| Err(Rejection::new("this toaster is recalled")));
    let (url, _webhook) = serve(Webhook::new(policy)).await;
    assert_eq!(
        device_of(&dps, &url).await.failed().await,
        (
            400_207,
            "Custom allocation failed with status code: 400".to_owned()
        )
    );
}

#[tokio::test]
async fn an_answer_without_a_hub() {
    for body in [
        "{}",
        r#"{"iotHubHostName":null}"#,
        r#"{"iotHubHostName":""}"#,
        r#"{"hub":"127.0.0.1"}"#,
    ] {
        let (code, message) = failure(200, body).await;
        assert_eq!(code, 400_208, "{body}");
        let start = "Custom allocation failed: the webhook's answer has no iotHubHostName";
        assert!(message.starts_with(start), "{body}: {message}");
    }
}

#[tokio::test]
async fn a_hub_that_is_not_linked() {
    let (code, message) = failure(200, r#"{"iotHubHostName":"hub-x"}"#).await;
    assert_eq!(code, 400_207);
    let start =
        "Custom allocation failed: the webhook chose hub-x, which is not one of the linked hubs";
    assert!(message.starts_with(start), "{message}");
}

#[tokio::test]
async fn an_invalid_answer_is_explained_in_the_error_message() {
    for (body, reason) in [
        ("", "the webhook's answer is empty"),
        ("   \r\n", "the webhook's answer is empty"),
        ("<html>", "the webhook's answer is HTML or XML"),
        ("{\"iotHubHostName\":", "the webhook's answer is not JSON"),
        ("[]", "it is an array, not an object"),
        ("\"localhost\"", "it is the string \"localhost\""),
        (
            r#""{\"iotHubHostName\":\"localhost\"}""#,
            "is encoded twice",
        ),
        (r#"{"iotHubHostName":7}"#, "is the number 7, not a string"),
        (r#"{"iotHubHostName":"no host"}"#, "it contains white space"),
        (r#"{"iotHubHostName":"https://localhost"}"#, "it is a URL"),
        (
            r#"{"value":{"iotHubHostName":"localhost"},"formatters":[],"contentTypes":[],"statusCode":200}"#,
            "it is inside \"value\"",
        ),
        (
            r#"{"iotHubHostName":"localhost","initialTwin":{"tags":["a"]}}"#,
            "initialTwin.tags in the webhook's answer is an array",
        ),
    ] {
        let (code, message) = failure(200, body).await;
        let expected = if body.contains("value") {
            400_208
        } else {
            400_207
        };
        assert_eq!(code, expected, "{body}");
        assert!(
            message.starts_with("Custom allocation failed: "),
            "{message}"
        );
        assert!(message.contains(reason), "{body}: {message}");
    }
}

#[tokio::test]
async fn an_answer_without_end() {
    let body = format!(
        r#"{{"iotHubHostName":"127.0.0.1","payload":"{}"}}"#,
        "x".repeat(100 * 1024)
    );
    let (code, message) = failure(200, &body).await;
    assert_eq!(code, 400_207);
    assert_eq!(
        message,
        "Custom allocation failed: the webhook's answer is larger than 98304 bytes"
    );
}

#[tokio::test]
async fn a_webhook_that_is_not_there() {
    let dps = Dps::start().await;
    // The port is bound, so that no other program can bind it, and nothing listens on it.
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    socket.bind(any).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let url = format!("http://127.0.0.1:{port}/api?code=function-key-secret");
    let (code, message) = device_of(&dps, &url).await.failed().await;
    assert_eq!(code, 400_207);
    assert!(
        message.starts_with("Custom allocation failed: "),
        "{message}"
    );
    assert!(!message.contains("function-key-secret"), "{message}");
}

#[tokio::test]
async fn a_device_is_assigned_when_the_webhook_recovers() {
    let dps =
        Dps::start_with(|builder| builder.link_hub(linked("hub-a")).link_hub(linked("hub-b")))
            .await;
    let answers = Mutex::new(vec![
        (200, r#"{"iotHubHostName":"hub-b"}"#),
        (500, ""),
        (200, r#"{"iotHubHostName":"hub-a"}"#),
        (503, ""),
    ]);
    let hook = Hook::start(move |_| {
        let (status, body) = answers.lock().expect("not poisoned").pop()?;
        Some((status, body.to_owned()))
    })
    .await;
    let device = device_of(&dps, &hook.url).await;

    device.failed().await;
    let first = device.assigned().await;
    assert_eq!(
        (&first["assignedHub"], &first["substatus"]),
        (&json!("hub-a"), &json!("initialAssignment"))
    );
    assert_eq!(first.get("errorCode"), None);
    device.failed().await;
    let moved = device.assigned().await;
    assert_eq!(
        (&moved["assignedHub"], &moved["substatus"]),
        (&json!("hub-b"), &json!("deviceDataMigrated"))
    );
    assert_eq!(moved["createdDateTimeUtc"], first["createdDateTimeUtc"]);

    let asked = hook.asked(4).await;
    let context = |at: usize| &asked[at].body["deviceRuntimeContext"];
    assert_eq!(context(1).get("currentIotHubHostName"), None);
    assert_eq!(context(3)["currentIotHubHostName"], "hub-a");
}
