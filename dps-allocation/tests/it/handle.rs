//! A webhook without a server: the documented exchange, and every failure.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use dps_allocation::policies::Fixed;
use dps_allocation::{Allocation, AllocationPolicy, Rejection, Webhook, from_async_fn, from_fn};
use dps_types::enrollment::{EnrollmentGroup, InitialTwin};
use dps_types::{AllocationRequest, Enrollment, ErrorCode};
use http::{Request, Response};
use serde_json::{Value, json};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level};

use crate::common::{DOCUMENTED_REQUEST, HUB_A, HUB_B};

fn post(body: &str) -> Request<&str> {
    let request = Request::post("/").header("content-type", "application/json");
    request.body(body).unwrap()
}

fn set_key(request: &mut Request<&str>, query: Option<&str>, header: Option<&str>) {
    if let Some(query) = query {
        *request.uri_mut() = format!("/?{query}").parse().unwrap();
    }
    if let Some(header) = header {
        let header = header.parse().unwrap();
        request.headers_mut().insert("x-functions-key", header);
    }
}

fn fixed() -> Fixed {
    Fixed::to(HUB_B.parse().unwrap())
}

fn json(reply: &Response<Vec<u8>>) -> Value {
    serde_json::from_slice(reply.body()).unwrap()
}

/// Asserts the status, the error code, and a part of the message.
fn assert_error_details(reply: &Response<Vec<u8>>, status: u16, code: Option<u32>, message: &str) {
    let body = json(reply);
    assert_eq!(reply.status(), status, "{body}");
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
        Ok(Allocation::to(request.linked_hubs[0].clone())
            .initial_twin(twin)
            .payload(json!({ "greeting": "hello" })))
    }));
    let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(
        String::from_utf8(reply.body().clone()).unwrap(),
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"tags":{"t":1},"properties":{"desired":{"darkness":"medium"}}},"payload":{"greeting":"hello"}}"#
    );
    let headers = reply.headers();
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["content-type"], "application/json; charset=utf-8");
}

#[tokio::test]
async fn an_allocation_without_twin_and_payload_names_only_the_hub() {
    let reply = Webhook::new(fixed()).handle(post(DOCUMENTED_REQUEST)).await;
    assert_eq!(
        String::from_utf8(reply.into_body()).unwrap(),
        r#"{"iotHubHostName":"hub-b.azure-devices.net"}"#
    );
}

#[tokio::test]
async fn the_names_in_twin_and_payload_keep_their_case() {
    // Some samples write "Desired", which is a tag like any other and not the desired properties.
    let webhook = Webhook::new(from_fn(|request| {
        let mut tags = serde_json::Map::new();
        tags.insert("Desired".into(), request.payload()?);
        let twin = InitialTwin::desired([("Desired", "DESIRED")]).with_tags(tags);
        Ok(Allocation::to(request.linked_hubs[0].clone())
            .initial_twin(twin)
            .payload(json!({ "Tags": 1, "tags": 2 })))
    }));
    let body = DOCUMENTED_REQUEST.replace(r#"{"k":"v"}"#, r#"{"Model":1,"model":2}"#);
    let reply = webhook.handle(post(&body)).await;
    assert_eq!(
        String::from_utf8(reply.into_body()).unwrap(),
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"tags":{"Desired":{"Model":1,"model":2}},"properties":{"desired":{"Desired":"DESIRED"}}},"payload":{"Tags":1,"tags":2}}"#
    );
}

#[tokio::test]
async fn member_names_of_the_request_are_read_in_any_case() {
    let body = DOCUMENTED_REQUEST
        .replace("currentIotHubHostName", "currentIoTHubHostName")
        .replace("linkedHubs", "LinkedHubs");
    let webhook = Webhook::new(from_fn(|request| {
        let current = &request.device_runtime_context.current_iot_hub_host_name;
        let current = current.clone().ok_or(Rejection::new("no current hub"))?;
        Ok(Allocation::to(current))
    }));
    let reply = webhook.handle(post(&body)).await;
    assert_eq!(json(&reply)["iotHubHostName"], HUB_A);
}

#[tokio::test]
async fn the_case_of_a_hub_name_does_not_matter() {
    let webhook = Webhook::new(Fixed::to("HUB-B.azure-devices.net".parse().unwrap()));
    assert_eq!(webhook.handle(post(DOCUMENTED_REQUEST)).await.status(), 200);
}

#[tokio::test]
async fn another_method_is_405_with_an_allow_header() {
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "post"] {
        let mut request = post(DOCUMENTED_REQUEST);
        *request.method_mut() = method.parse().unwrap();
        let reply = Webhook::new(fixed()).handle(request).await;
        assert_error_details(&reply, 405, Some(405_000), "POST");
        assert_eq!(reply.headers()["allow"], "POST");
    }
}

#[tokio::test]
async fn only_json_is_accepted() {
    let webhook = Webhook::new(fixed());
    for (content_type, status) in [
        (&["application/json; charset=utf-8"][..], 200),
        (&["Application/JSON"], 200),
        (&["text/plain"], 415),
        (&["application/jsonp"], 415),
        (&["application/json; charset=utf-16"], 415),
        (&[""], 415),
        (&[], 415),
        (&["application/json", "application/json"], 415),
        (&["application/json", "text/plain"], 415),
    ] {
        let mut request = Request::post("/");
        for content_type in content_type {
            request = request.header("content-type", *content_type);
        }
        let request = request.body(DOCUMENTED_REQUEST).unwrap();
        let reply = webhook.handle(request).await;
        assert_eq!(reply.status(), status, "{content_type:?}");
        if status == 415 {
            assert_error_details(&reply, 415, Some(415_000), "application/json");
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let length = DOCUMENTED_REQUEST.len();
    let webhook = Webhook::new(fixed()).with_body_limit(length);
    assert_eq!(webhook.handle(post(DOCUMENTED_REQUEST)).await.status(), 200);
    let longer = format!("{DOCUMENTED_REQUEST} ");
    let reply = webhook.handle(post(&longer)).await;
    assert_error_details(&reply, 413, Some(413_001), &length.to_string());

    // A whole DPS message fits.
    let padded = |bytes| format!("{DOCUMENTED_REQUEST}{}", " ".repeat(bytes - length));
    let webhook = Webhook::new(fixed());
    assert_eq!(webhook.handle(post(&padded(96 * 1024))).await.status(), 200);
    assert_eq!(
        webhook.handle(post(&padded(128 * 1024))).await.status(),
        200
    );
    assert_eq!(
        webhook.handle(post(&padded(128 * 1024 + 1))).await.status(),
        413
    );
}

#[tokio::test]
async fn a_body_that_is_not_an_allocation_request_is_400() {
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
async fn a_byte_order_mark_before_the_request_is_skipped() {
    let body = format!("\u{feff}{DOCUMENTED_REQUEST}");
    assert_eq!(
        Webhook::new(fixed()).handle(post(&body)).await.status(),
        200
    );
}

/// As the service's own JSON readers do it.
#[tokio::test]
async fn the_last_of_several_members_of_the_request_counts() {
    let only = r#""linkedHubs":["#;
    let other = r#""LINKEDHUBS":["other"],"#;
    assert!(DOCUMENTED_REQUEST.contains(only));
    let body = DOCUMENTED_REQUEST.replacen(only, &format!("{other}{only}"), 1);
    let reply = Webhook::new(fixed()).handle(post(&body)).await;
    assert_eq!(reply.status(), 200);
    let (rest, _) = DOCUMENTED_REQUEST.rsplit_once('}').unwrap();
    let body = format!("{rest}, \"LinkedHubs\": [\"other\"] }}");
    let reply = Webhook::new(fixed()).handle(post(&body)).await;
    assert_ne!(reply.status(), 200, "the hub is not linked");
}

/// DPS could store such a value but not read it again.
#[tokio::test]
async fn a_value_that_is_nested_too_deep_is_not_sent() {
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| Value::Array(vec![inner]));
    for (depth, status) in [(64, 200), (65, 500), (500, 500)] {
        let webhook = Webhook::new(from_fn(move |request| {
            Ok(Allocation::to(request.linked_hubs[0].clone()).payload(nested(depth)))
        }));
        let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
        assert_eq!(reply.status(), status, "{depth}");
        if status == 500 {
            let message = "payload is nested deeper than 64 levels";
            assert_error_details(&reply, 500, Some(500_001), message);
        }
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
        (Some("code=an0ther&Code=an0ther"), None, 400),
    ] {
        let mut request = post(DOCUMENTED_REQUEST);
        set_key(&mut request, query, header);
        let reply = webhook.handle(request).await;
        assert_eq!(reply.status(), status, "{query:?} {header:?}");
        match status {
            401 => assert_error_details(&reply, 401, Some(401_002), "function key"),
            400 => assert_error_details(&reply, 400, Some(400_004), "send exactly one"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn without_a_key_only_the_missing_key_is_reported() {
    let webhook = Webhook::new(fixed()).with_function_key("s3cret");
    let mut request = post("{");
    request.headers_mut().clear();
    assert_eq!(webhook.handle(request).await.status(), 401);
}

#[tokio::test]
async fn a_rejection_is_sent_with_its_status_code_and_reason() {
    let reply = Webhook::new(from_fn(|_| Err(Rejection::new("no hub for kettle"))))
        .handle(post(DOCUMENTED_REQUEST))
        .await;
    assert_eq!(reply.status(), 400);
    assert_eq!(
        String::from_utf8(reply.into_body()).unwrap(),
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
    assert_eq!(reply.status(), 503);
    assert_eq!(
        String::from_utf8(reply.into_body()).unwrap(),
        r#"{"errorCode":400208,"message":"closed"}"#
    );
}

#[tokio::test]
async fn a_payload_of_another_type_is_a_rejection() {
    let webhook = Webhook::new(from_fn(|request| {
        let _number: u32 = request.payload()?;
        Ok(Allocation::to(request.linked_hubs[0].clone()))
    }));
    let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
    assert_error_details(&reply, 400, None, "is not of the expected form");
}

#[tokio::test]
async fn a_panic_is_logged_but_not_sent_and_the_webhook_continues() {
    let (log, _guard) = Log::collect(Level::INFO);

    let webhook = Webhook::new(from_fn(|request| {
        match request.device_runtime_context.payload {
            Some(_) => panic!("the {} is empty", "toaster table"),
            None => Ok(Allocation::to(request.linked_hubs[0].clone())),
        }
    }));
    let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
    assert_error_details(&reply, 500, Some(500_001), "the allocation policy failed");
    assert!(!String::from_utf8_lossy(reply.body()).contains("toaster table"));
    assert!(log.text().contains("the toaster table is empty"));

    let body = DOCUMENTED_REQUEST.replace(r#","payload":{"k":"v"}"#, "");
    assert_eq!(webhook.handle(post(&body)).await.status(), 200);
}

#[tokio::test]
async fn a_panic_before_the_first_await_is_caught() {
    struct Eager;
    impl AllocationPolicy for Eager {
        // The macro of the trait would write an async block, which would delay the panic.
        fn allocate<'a, 'b, 'c>(
            &'a self,
            _: &'b AllocationRequest,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Allocation, Rejection>> + Send + 'c>>
        where
            'a: 'c,
            'b: 'c,
        {
            panic!("before the first await")
        }
    }
    let reply = Webhook::new(Eager).handle(post(DOCUMENTED_REQUEST)).await;
    assert_eq!(reply.status(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_times_out_is_504() {
    let never = || from_async_fn(|_| std::future::pending());
    let reply = Webhook::new(never()).handle(post(DOCUMENTED_REQUEST)).await;
    assert_error_details(&reply, 504, None, "25s");

    let webhook = Webhook::new(never()).with_timeout(Duration::from_secs(2));
    let reply = webhook.handle(post(DOCUMENTED_REQUEST)).await;
    assert_error_details(&reply, 504, None, "2s");
}

#[tokio::test]
async fn a_hub_that_is_not_linked_is_not_sent() {
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
    let (log, _guard) = Log::collect(Level::TRACE);

    let webhook = Webhook::new(fixed()).with_function_key("s3cret");
    let mut request = post(DOCUMENTED_REQUEST);
    set_key(&mut request, Some("code=s3cret"), Some("other-s3cret"));
    let reply = webhook.handle(request).await;
    assert_eq!(reply.status(), 200);
    let mut request = post(DOCUMENTED_REQUEST);
    set_key(&mut request, Some("code=wrong-s3cret"), None);
    let refused = webhook.handle(request).await;
    assert_eq!(refused.status(), 401);

    let shown = format!("{webhook:?} {reply:?} {refused:?} {}", log.text());
    assert!(shown.contains("allocated a device"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects the log of this thread until the guard is dropped.
    fn collect(level: Level) -> (Self, DefaultGuard) {
        // With one subscriber only, tracing would cache for all threads that a thread without it has no use for a message.
        static SECOND: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(NoSubscriber::default()));
        LazyLock::force(&SECOND);

        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

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
