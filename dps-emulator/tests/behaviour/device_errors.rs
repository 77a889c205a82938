//! The errors of the device API: each has its status, its code and the same form.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{
    Answer, Dps, FOREVER, KEY_1, KEY_2, Sas, assert_timestamp, key_enrollment, names,
};

async fn with_device() -> Dps {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps
}

#[tokio::test]
async fn an_error_has_the_services_shape() {
    let dps = Dps::start().await;
    let answer = dps.device("dev-1").register().await;
    assert_eq!(answer.status, 401);
    let body = answer.json();
    assert_eq!(
        names(&body),
        ["errorCode", "trackingId", "message", "timestampUtc"]
    );
    assert_eq!(body["errorCode"], 401_002);
    assert_eq!(body["message"], "Invalid certificate.");
    assert_timestamp(&body["timestampUtc"]);
    assert_eq!(
        body["trackingId"].as_str(),
        answer.header("x-ms-request-id")
    );
    assert_eq!(answer.header("x-ms-error-code"), Some("401002"));
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/json; charset=utf-8")
    );
    assert!(answer.header("Content-Length").is_some());
    assert!(answer.header("Strict-Transport-Security").is_some());
    assert_eq!(answer.header("Retry-After"), None);
}

#[tokio::test]
async fn every_request_has_a_request_id_of_its_own() {
    let dps = Dps::start().await;
    let one = dps.device("dev-1").register().await;
    let other = dps.device("dev-1").register().await;
    assert_ne!(
        one.header("x-ms-request-id"),
        other.header("x-ms-request-id")
    );
}

#[tokio::test]
async fn an_api_version_is_needed_and_must_be_known() {
    let dps = with_device().await;
    let token = Sas::device("0ne00000001", "dev-1").sign(KEY_1);
    for (query, message) in [
        ("", "The api-version query parameter is missing."),
        (
            "?api-versions=2021-06-01",
            "The api-version query parameter is missing.",
        ),
        ("?api-version=", "The api-version '' is not known."),
        (
            "?api-version=2020-01-01",
            "The api-version '2020-01-01' is not known.",
        ),
        (
            "?api-version=latest",
            "The api-version 'latest' is not known.",
        ),
    ] {
        let path = format!("/0ne00000001/registrations/dev-1/register{query}");
        let request = dps.request("PUT", &path).header("Authorization", &token);
        let answer = Answer::to(request.json(&json!({}))).await;
        answer.assert_error(400_001, message);
    }
}

#[tokio::test]
async fn a_wrong_method_is_refused() {
    let dps = with_device().await;
    for (method, path) in [
        ("GET", "/0ne00000001/registrations/dev-1/register"),
        ("POST", "/0ne00000001/registrations/dev-1/register"),
        ("PUT", "/0ne00000001/registrations/dev-1"),
        ("DELETE", "/0ne00000001/registrations/dev-1"),
        ("PUT", "/0ne00000001/registrations/dev-1/operations/4.ab.cd"),
        (
            "PATCH",
            "/0ne00000001/registrations/dev-1/operations/4.ab.cd",
        ),
    ] {
        let request = dps.request(method, &format!("{path}?api-version=2021-06-01"));
        let answer = Answer::to(request.json(&json!({}))).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.json()["message"], "Method not allowed.");
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let dps = with_device().await;
    for path in [
        "/",
        "/0ne00000001",
        "/0ne00000001/registrations",
        "/0ne00000001/devices/dev-1/register",
        "/0ne00000001/registrations/dev-1/register/again",
        "/0ne00000001/registrations/dev-1/operations",
        "/0ne00000001/registrations/dev-1/enroll",
    ] {
        let request = dps.request("PUT", &format!("{path}?api-version=2021-06-01"));
        let answer = Answer::to(request.json(&json!({}))).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert_eq!(answer.json()["message"], "Not found.");
    }
}

#[tokio::test]
async fn an_id_that_cannot_be_one_is_refused() {
    let dps = with_device().await;
    let long = "a".repeat(129);
    for id in ["a%20b", "dev.", "dev%2F1", "d%C3%A9v", "%00", &*long] {
        let path = format!("/0ne00000001/registrations/{id}/register?api-version=2021-06-01");
        let answer = Answer::to(dps.request("PUT", &path).json(&json!({}))).await;
        assert_eq!(answer.status, 400, "{id}: {answer:?}");
        assert_eq!(answer.json()["errorCode"], 400_004, "{id}");
    }
}

#[tokio::test]
async fn a_body_must_be_declared_as_json() {
    let dps = with_device().await;
    let device = dps.device("dev-1").key(KEY_1);
    for content_type in [None, Some("text/plain"), Some("application/jsonp")] {
        let mut request = device.request("PUT", "/register").body("{}");
        if let Some(content_type) = content_type {
            request = request.header("Content-Type", content_type);
        }
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 415, "{content_type:?}");
        assert_eq!(
            answer.json()["message"],
            "The Content-Type must be application/json."
        );
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let request = device.request("PUT", "/register").body("{}");
        let answer = Answer::to(request.header("Content-Type", content_type)).await;
        assert_eq!(answer.status, 202, "{content_type}");
    }
}

#[tokio::test]
async fn a_chunked_body_is_refused() {
    let dps = with_device().await;
    let token = Sas::device("0ne00000001", "dev-1").sign(KEY_1);
    let request = format!(
        "PUT /0ne00000001/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1\r\n\
         Host: localhost\r\nContent-Type: application/json\r\nAuthorization: {token}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    );
    let mut stream = dps.connect().await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(
        answer.starts_with("HTTP/1.1 411 Length Required\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("A Content-Length header is required."),
        "{answer}"
    );
}

#[tokio::test]
async fn a_message_of_more_than_96_kib_is_too_large() {
    let dps = with_device().await;
    let device = dps.device("dev-1").key(KEY_1);
    let body = |length: usize| {
        let empty = r#"{"payload":""}"#.len();
        format!(r#"{{"payload":"{}"}}"#, "x".repeat(length - empty))
    };
    for (length, status) in [(96 * 1024, 202), (96 * 1024 + 1, 413), (1024 * 1024, 413)] {
        let request = device
            .request("PUT", "/register")
            .header("Content-Type", "application/json");
        let answer = Answer::to(request.body(body(length))).await;
        assert_eq!(answer.status, status, "{length}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_malformed() {
    let dps = with_device().await;
    let device = dps.device("dev-1").key(KEY_1);
    for body in [
        " ",
        "{",
        "{\"registrationId\":}",
        "\u{feff}",
        "{} {}",
        "<xml/>",
    ] {
        let request = device
            .request("PUT", "/register")
            .header("Content-Type", "application/json");
        let answer = Answer::to(request.body(body)).await;
        assert_eq!(answer.status, 400, "{body:?}");
        assert_eq!(answer.json()["errorCode"], 400_006, "{body:?}");
    }
}

#[tokio::test]
async fn json_of_another_shape_is_invalid() {
    let dps = with_device().await;
    let device = dps.device("dev-1").key(KEY_1);
    for body in [
        json!([]),
        json!("dev-1"),
        json!({ "registrationId": 1 }),
        json!({ "registrationId": "not an id" }),
    ] {
        let answer = device.register_with(body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["errorCode"], 400_004, "{body}");
    }
}

#[tokio::test]
async fn the_body_must_be_about_the_device_in_the_path() {
    let dps = with_device().await;
    let device = dps.device("dev-1").key(KEY_1);
    let answer = device
        .register_with(json!({ "registrationId": "dev-2" }))
        .await;
    answer.assert_error(
        400_004,
        "The registrationId in the body is not the one in the path.",
    );
}

#[tokio::test]
async fn an_unknown_operation_is_not_found() {
    let dps = with_device().await;
    let device = dps.device("dev-1").key(KEY_1);
    let never = "5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550";
    device
        .poll(never)
        .await
        .assert_error(404_001, "Operation not found.");
    device.assigned().await;
    device
        .poll(never)
        .await
        .assert_error(404_001, "Operation not found.");
}

#[tokio::test]
async fn another_devices_operation_cannot_be_polled() {
    let dps = with_device().await;
    dps.create("/enrollments/dev-2", &key_enrollment("dev-2", KEY_1, KEY_2))
        .await;
    let operation = dps.device("dev-1").key(KEY_1).register().await.json()["operationId"].clone();
    let answer = dps
        .device("dev-2")
        .key(KEY_1)
        .poll(operation.as_str().expect("text"))
        .await;
    assert_eq!(answer.status, 404, "{answer:?}");
}

#[tokio::test]
async fn an_unknown_id_scope_is_refused() {
    let dps = with_device().await;
    let sas = Sas {
        sr: "0ne00000002%2Fregistrations%2Fdev-1".to_owned(),
        se: FOREVER,
        skn: Some("registration".to_owned()),
    };
    let path = "/0ne00000002/registrations/dev-1/register?api-version=2021-06-01";
    let request = dps.request("PUT", path);
    let request = request.header("Authorization", sas.sign(KEY_1));
    let answer = Answer::to(request.json(&json!({}))).await;
    answer.assert_error(401_002, "Unauthorized");
}
