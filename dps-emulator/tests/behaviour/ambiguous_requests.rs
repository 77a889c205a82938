//! Requests that two readers could read in different ways, the order of checks, and what an answer may reflect.

use serde_json::json;

use crate::common::{Answer, Dps, KEY_1, KEY_2, derive, key_enrollment, key_group};

async fn with_device() -> Dps {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps
}

#[tokio::test]
async fn a_header_that_is_there_twice_is_malformed() {
    let dps = with_device().await;
    for name in [
        "Authorization",
        "If-Match",
        "x-ms-max-item-count",
        "Content-Type",
    ] {
        let request = dps.service("PUT", "/enrollments/dev-1");
        let request = request.header(name, "\"a\"").header(name, "\"a\"");
        let answer = Answer::to(request).await;
        let name = name.to_ascii_lowercase();
        answer.assert_error(
            400_006,
            &format!("The request has more than one {name} header."),
        );
    }
    let device = dps.device("dev-1").key(KEY_1);
    let request = device.request("PUT", "/register").json(&json!({}));
    let answer = Answer::to(request.header("Authorization", "x")).await;
    answer.assert_error(
        400_006,
        "The request has more than one authorization header.",
    );
    let request = dps.request("GET", "/devices/d?api-version=2021-04-12");
    let answer = Answer::to(request.header("Host", "a").header("Host", "b")).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(
        answer.json()["Message"],
        "ErrorCode:IotHubFormatError;The request has more than one host header."
    );
}

#[tokio::test]
async fn a_query_parameter_that_is_there_twice_is_invalid() {
    let dps = with_device().await;
    let token = dps.service_sas().sign(&dps.service_key);
    for query in [
        "api-version=2021-10-01&api-version=2021-10-01",
        "api-version=2021-10-01&API-VERSION=2019-03-31",
        "api-version=2021-10-01&api%2Dversion=1",
    ] {
        let request = dps.request("GET", &format!("/enrollments/dev-1?{query}"));
        let answer = Answer::to(request.header("Authorization", &token)).await;
        answer.assert_error(
            400_004,
            "The query parameter api-version occurs more than once.",
        );
    }
}

#[tokio::test]
async fn the_token_is_checked_before_the_body() {
    let dps = with_device().await;
    let large = "x".repeat(2 * 1024 * 1024);
    for path in ["/enrollments/dev-1", "/twins/dev-1"] {
        let request = dps.request("PUT", &format!("{path}?api-version=2021-10-01"));
        let answer = Answer::to(request.body(large.clone())).await;
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn location_names_only_a_host_of_the_instance() {
    let dps = with_device().await;
    let own = format!("https://localhost:{}/", dps.port);
    for (host, expected) in [
        ("localhost", "https://localhost/"),
        ("LOCALHOST:8443", "https://LOCALHOST:8443/"),
        ("[::1]:1", "https://[::1]:1/"),
        ("evil.example", &own),
        ("localhost:evil", &own),
        ("localhost@evil.example", &own),
        ("localhost:1/..", &own),
    ] {
        let device = dps.device("dev-1").key(KEY_1);
        let request = device.request("PUT", "/register").header("Host", host);
        let answer = Answer::to(request.json(&json!({}))).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let location = answer.header("Location").expect("a location");
        assert!(location.starts_with(expected), "{host}: {location}");
        device
            .finish(answer.json()["operationId"].as_str().expect("an id"))
            .await;
    }
}

#[tokio::test]
async fn registration_ids_that_differ_in_case_are_one_device_of_the_hub() {
    let dps = Dps::start().await;
    dps.create("/enrollmentGroups/fleet", &key_group("fleet", KEY_1, KEY_2))
        .await;
    for id in ["Dev-1", "dev-1", "DEV-1"] {
        let key = derive(KEY_1, id);
        let state = dps.device(id).key(&key).assigned().await;
        assert_eq!(state["deviceId"], "Dev-1", "{id}");
    }
    let devices = dps.hub("127.0.0.1").devices().await.expect("read");
    assert_eq!(devices.len(), 1);
}

#[tokio::test]
async fn a_byte_order_mark_before_a_body_is_skipped() {
    let dps = with_device().await;
    let device = dps.device("dev-1").key(KEY_1);
    let request = device
        .request("PUT", "/register")
        .header("Content-Type", "application/json");
    let answer = Answer::to(request.body("\u{feff}{}")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Of several JSON members for one field the last one counts, without regard to case: System.Text.Json and Newtonsoft.Json.
#[tokio::test]
async fn the_last_of_several_members_counts() {
    let dps = with_device().await;
    for (body, status) in [
        (
            r#"{"registrationId":"other","registrationId":"dev-1"}"#,
            202,
        ),
        (
            r#"{"REGISTRATIONID":"other","registrationId":"dev-1"}"#,
            202,
        ),
        (
            r#"{"registrationId":"dev-1","RegistrationId":"other"}"#,
            400,
        ),
        (r#"{"registrationId":5,"registrationId":"dev-1"}"#, 400),
    ] {
        let device = dps.device("dev-1").key(KEY_1);
        let request = device
            .request("PUT", "/register")
            .header("Content-Type", "application/json");
        let answer = Answer::to(request.body(body)).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
    }
    let group = r#"{"enrollmentGroupId":"other","enrollmentGroupId":"g","attestation":{"type":"symmetricKey"}}"#;
    let request = dps
        .service("PUT", "/enrollmentGroups/g")
        .header("Content-Type", "application/json");
    let answer = Answer::to(request.body(format!("\u{feff}{group}"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn operations_of_a_hub_that_the_emulator_lacks_are_not_implemented() {
    let dps = with_device().await;
    for (method, path, missing) in [
        (
            "GET",
            "/devices/dev-1/messages/deviceBound",
            "cloud-to-device",
        ),
        ("GET", "/jobs/v2", "jobs"),
        ("POST", "/devices/query", "queries"),
    ] {
        // Without a token: the client must not look for the fault in its token.
        let request = dps.request(method, &format!("{path}?api-version=2021-04-12"));
        let answer = Answer::to(request.json(&json!({}))).await;
        assert_eq!(answer.status, 501, "{answer:?}");
        assert_eq!(
            answer.header("iothub-errorcode"),
            Some("GenericNotImplemented")
        );
        let message = answer.json()["Message"].to_string();
        assert!(message.contains(missing), "{message}");
    }
}
