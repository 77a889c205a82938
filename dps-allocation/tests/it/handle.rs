//! The webhook without a server: the documented exchange, and every failure.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dps_allocation::policies::{Fixed, from_async_fn};
use dps_allocation::{
    Allocation, AllocationPolicy, Rejection, Webhook, WebhookReply, WebhookRequest, from_fn,
};
use dps_types::enrollment::{EnrollmentGroup, InitialTwin};
use dps_types::{AllocationRequest, Enrollment, ErrorCode};
use serde_json::{Value, json};

use crate::common::{DOCUMENTED_REQUEST, HUB_A, HUB_B};

fn post(body: &str) -> WebhookRequest<'_> {
    WebhookRequest {
        method: "POST",
        content_type: Some("application/json"),
        query: None,
        function_key_header: None,
        body: body.as_bytes(),
    }
}

fn fixed() -> Fixed {
    Fixed::to(HUB_B.parse().unwrap())
}

fn json(reply: &WebhookReply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

/// Asserts the status, and that code and message are in the body.
fn assert_error_details(reply: &WebhookReply, status: u16, code: Option<u32>, message: &str) {
    let body = json(reply);
    assert_eq!(reply.status, status, "{body}");
    assert_eq!(body.get("errorCode"), code.map(|code| json!(code)).as_ref());
    let text = body["message"].as_str().unwrap();
    assert!(text.contains(message), "{text}");
}

#[tokio::test]
async fn the_documented_request_is_answered_as_documented() {
    let webhook = Webhook::new(from_fn(|request| {
        let Enrollment::Group(group) = &request.enrollment else {
            return Err(Rejection::new("not a group"));
        };
        let group: &EnrollmentGroup = group;
        assert_eq!(
            group.enrollment_group_id.as_str(),
            "contoso-custom-allocated-devices"
        );
        assert_eq!(request.registration_id().as_str(), "dev-007");
        assert_eq!(request.payload::<Value>()?, json!({ "k": "v" }));
        let twin = InitialTwin::desired([("darkness", "medium")]).with_tags([("t", 1)]);
        Ok(Allocation::to(&request.linked_hubs[0])
            .initial_twin(twin)
            .payload(json!({ "greeting": "hello" })))
    }));
    let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        String::from_utf8(reply.body.clone()).unwrap(),
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"tags":{"t":1},"properties":{"desired":{"darkness":"medium"}}},"payload":{"greeting":"hello"}}"#
    );
    let headers: Vec<_> = reply.headers().collect();
    assert_eq!(
        headers,
        [("content-type", "application/json; charset=utf-8")]
    );
}

#[tokio::test]
async fn only_the_hub_is_named_when_there_is_nothing_else_to_say() {
    let reply = Webhook::new(fixed()).handle(post(DOCUMENTED_REQUEST)).await;
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        r#"{"iotHubHostName":"hub-b.azure-devices.net"}"#
    );
}

#[tokio::test]
async fn the_keys_of_users_are_passed_on_in_their_case() {
    // The samples of a peer wrote "Desired", which is no desired property but a key like any other.
    let webhook = Webhook::new(from_fn(|request| {
        let mut tags = serde_json::Map::new();
        tags.insert("Desired".into(), request.payload()?);
        let twin = InitialTwin::desired([("Desired", "DESIRED")]).with_tags(tags);
        Ok(Allocation::to(&request.linked_hubs[0])
            .initial_twin(twin)
            .payload(json!({ "Tags": 1, "tags": 2 })))
    }));
    let body = DOCUMENTED_REQUEST.replace(r#"{"k":"v"}"#, r#"{"Model":1,"model":2}"#);
    let reply = webhook.handle(post(&body)).await;
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"tags":{"Desired":{"Model":1,"model":2}},"properties":{"desired":{"Desired":"DESIRED"}}},"payload":{"Tags":1,"tags":2}}"#
    );
}

#[tokio::test]
async fn names_of_the_protocol_are_read_in_any_case() {
    let body = DOCUMENTED_REQUEST
        .replace("currentIotHubHostName", "currentIoTHubHostName")
        .replace("linkedHubs", "LinkedHubs");
    let webhook = Webhook::new(from_fn(|request| {
        let current = &request.device_runtime_context.current_iot_hub_host_name;
        Ok(Allocation::to(
            current.as_ref().ok_or(Rejection::new("none"))?,
        ))
    }));
    let reply = webhook.handle(post(&body)).await;
    assert_eq!(json(&reply)["iotHubHostName"], HUB_A);
}

#[tokio::test]
async fn a_hub_may_be_named_in_another_case() {
    let webhook = Webhook::new(Fixed::to("HUB-B.azure-devices.net".parse().unwrap()));
    assert_eq!(webhook.handle(post(DOCUMENTED_REQUEST)).await.status, 200);
}

#[tokio::test]
async fn another_method_is_405_and_names_the_one_to_use() {
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "post"] {
        let mut request = post(DOCUMENTED_REQUEST);
        request.method = method;
        let reply = Webhook::new(fixed()).handle(request).await;
        assert_error_details(&reply, 405, Some(405_000), "POST");
        assert!(reply.headers().any(|header| header == ("allow", "POST")));
    }
}

#[tokio::test]
async fn only_json_is_taken() {
    let webhook = Webhook::new(fixed());
    for (content_type, status) in [
        (Some("application/json; charset=utf-8"), 200),
        (Some("Application/JSON"), 200),
        (Some("text/plain"), 415),
        (Some("application/jsonp"), 415),
        (Some(""), 415),
        (None, 415),
    ] {
        let mut request = post(DOCUMENTED_REQUEST);
        request.content_type = content_type;
        let reply = webhook.handle(request).await;
        assert_eq!(reply.status, status, "{content_type:?}");
        if status == 415 {
            assert_error_details(&reply, 415, Some(415_000), "application/json");
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let length = DOCUMENTED_REQUEST.len();
    let webhook = Webhook::new(fixed()).with_body_limit(length);
    assert_eq!(webhook.handle(post(DOCUMENTED_REQUEST)).await.status, 200);
    let longer = format!("{DOCUMENTED_REQUEST} ");
    let reply = webhook.handle(post(&longer)).await;
    assert_error_details(&reply, 413, Some(413_001), &length.to_string());

    // A whole DPS message, and no more than that by far.
    let padded = |bytes| format!("{DOCUMENTED_REQUEST}{}", " ".repeat(bytes - length));
    let webhook = Webhook::new(fixed());
    assert_eq!(webhook.handle(post(&padded(96 * 1024))).await.status, 200);
    assert_eq!(webhook.handle(post(&padded(128 * 1024))).await.status, 200);
    assert_eq!(
        webhook.handle(post(&padded(128 * 1024 + 1))).await.status,
        413
    );
}

#[tokio::test]
async fn a_body_that_is_no_allocation_request_is_400() {
    let webhook = Webhook::new(fixed());
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        r#"{"deviceRuntimeContext":{"registrationId":"d"},"linkedHubs":[]}"#,
        &DOCUMENTED_REQUEST.replace("dev-007", "not an id"),
        &"[".repeat(100_000),
    ] {
        let reply = webhook.handle(post(body)).await;
        assert_error_details(&reply, 400, Some(400_006), "not an allocation request");
    }
}

#[tokio::test]
async fn a_missing_or_wrong_function_key_is_401() {
    let webhook = Webhook::new(fixed())
        .with_function_key("s3cret+/==")
        .with_function_key("an0ther");
    for (query, header, status) in [
        (Some("code=s3cret%2B%2F%3D%3D"), None, 200),
        (Some("code=s3cret+/=="), None, 200),
        (Some("x=y&code=an0ther"), None, 200),
        (None, Some("s3cret+/=="), 200),
        (None, None, 401),
        (Some("code=S3cret+/=="), None, 401),
        (Some("code="), Some(""), 401),
        (None, Some("s3cret+/=="), 200),
    ] {
        let mut request = post(DOCUMENTED_REQUEST);
        request.query = query;
        request.function_key_header = header;
        let reply = webhook.handle(request).await;
        assert_eq!(reply.status, status, "{query:?} {header:?}");
        if status == 401 {
            assert_error_details(&reply, 401, Some(401_002), "function key");
        }
    }
}

#[tokio::test]
async fn a_stranger_learns_nothing_but_that_a_key_is_wanted() {
    let webhook = Webhook::new(fixed()).with_function_key("s3cret");
    let mut request = post("{");
    request.content_type = None;
    assert_eq!(webhook.handle(request).await.status, 401);
}

#[tokio::test]
async fn a_rejection_is_sent_with_its_status_code_and_reason() {
    let reply = Webhook::new(from_fn(|_| Err(Rejection::new("no hub for kettle"))))
        .handle(post(DOCUMENTED_REQUEST))
        .await;
    assert_eq!(reply.status, 400);
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        r#"{"message":"no hub for kettle"}"#
    );

    let reply = Webhook::new(from_fn(|_| {
        Err(Rejection::new("closed")
            .with_status(503)
            .with_error_code(ErrorCode::HUB_NOT_SPECIFIED)
            .with_source(io::Error::other("the database's s3cret")))
    }))
    .handle(post(DOCUMENTED_REQUEST))
    .await;
    assert_eq!(reply.status, 503);
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        r#"{"errorCode":400208,"message":"closed"}"#
    );
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_a_rejection() {
    let webhook = Webhook::new(from_fn(|request| {
        let _number: u32 = request.payload()?;
        Ok(Allocation::to(&request.linked_hubs[0]))
    }));
    let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
    assert_error_details(&reply, 400, None, "is not of the expected form");
}

#[tokio::test]
async fn a_panic_is_logged_and_not_sent_and_the_webhook_lives_on() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let webhook = Webhook::new(from_fn(|request| {
        match request.device_runtime_context.payload {
            Some(_) => panic!("the inner {} broke", "workings"),
            None => Ok(Allocation::to(&request.linked_hubs[0])),
        }
    }));
    let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
    assert_error_details(&reply, 500, Some(500_001), "the allocation policy failed");
    assert!(!String::from_utf8_lossy(&reply.body).contains("workings"));
    assert!(log.text().contains("the inner workings broke"));

    let body = DOCUMENTED_REQUEST.replace(r#","payload":{"k":"v"}"#, "");
    assert_eq!(webhook.handle(post(&body)).await.status, 200);
}

#[tokio::test]
async fn a_panic_before_the_first_await_is_caught_too() {
    struct Eager;
    impl AllocationPolicy for Eager {
        // As the trait's macro writes it, but without the future that would delay the panic.
        fn allocate<'a, 'b, 'c>(
            &'a self,
            _: &'b AllocationRequest,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Allocation, Rejection>> + Send + 'c>>
        where
            'a: 'c,
            'b: 'c,
        {
            panic!("at once")
        }
    }
    let reply = Webhook::new(Eager).handle(post(DOCUMENTED_REQUEST)).await;
    assert_eq!(reply.status, 500);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_takes_too_long_is_504() {
    let never = || from_async_fn(|_| std::future::pending());
    let reply = Webhook::new(never()).handle(post(DOCUMENTED_REQUEST)).await;
    assert_error_details(&reply, 504, None, "25s");

    let webhook = Webhook::new(never()).with_timeout(Duration::from_secs(2));
    let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
    assert_error_details(&reply, 504, None, "2s");
}

#[tokio::test]
async fn a_hub_that_is_not_linked_is_stopped() {
    let webhook = Webhook::new(Fixed::to("elsewhere.azure-devices.net".parse().unwrap()));
    let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
    assert_error_details(
        &reply,
        500,
        Some(500_001),
        "elsewhere.azure-devices.net, which is not one of the linked hubs",
    );
}

#[tokio::test]
async fn no_secret_is_shown_or_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let webhook = Webhook::new(fixed()).with_function_key("s3cret");
    let mut request = post(DOCUMENTED_REQUEST);
    request.query = Some("code=s3cret");
    request.function_key_header = Some("s3cret-too");
    let reply = webhook.handle(request).await;
    assert_eq!(reply.status, 200);
    request.query = Some("code=wrong-s3cret");
    let refused = webhook.handle(request).await;
    assert_eq!(refused.status, 401);

    let shown = format!(
        "{webhook:?} {request:?} {reply:?} {refused:?} {}",
        log.text()
    );
    assert!(shown.contains("allocated a device"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
