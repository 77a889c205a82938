//! The device API without failures: register, poll and look up, from a plain HTTP client.

use std::time::Duration;

use dps_emulator::DeviceCredentials;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{
    Answer, Dps, Hook, KEY_1, KEY_2, Sas, assert_etag, assert_operation_id, assert_timestamp,
    certificate_enrollment, key_enrollment, key_group, names, with,
};

#[tokio::test]
async fn a_registration_is_accepted_with_an_operation_to_poll() {
    let dps = Dps::start_with(|builder| builder.retry_after(Duration::from_secs(1))).await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;

    let answer = dps.device("dev-1").key(KEY_1).register().await;

    assert_eq!(answer.status, 202);
    let body = answer.json();
    let operation = body["operationId"].as_str().expect("text");
    assert_operation_id(operation);
    assert_eq!(
        answer.text,
        format!(r#"{{"operationId":"{operation}","status":"assigning"}}"#)
    );
    let location = format!(
        "https://localhost:{}/0ne00000001/registrations/dev-1/register",
        dps.port
    );
    assert_eq!(answer.header("Location"), Some(&*location));
    assert_eq!(answer.header("Retry-After"), Some("1"));
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/json; charset=utf-8")
    );
    let length = answer.text.len().to_string();
    assert_eq!(answer.header("Content-Length"), Some(&*length));
    assert_eq!(answer.header("Transfer-Encoding"), None);
    assert_eq!(answer.header("x-ms-request-id").map(str::len), Some(36));
    assert_eq!(
        answer.header("Strict-Transport-Security"),
        Some("max-age=31536000; includeSubDomains")
    );
    assert!(answer.header("Date").is_some());
}

#[tokio::test]
async fn a_poll_answers_202_while_the_assignment_goes_on() {
    let dps = Dps::start_with(|builder| {
        builder
            .assign_delay(Duration::from_secs(600))
            .retry_after(Duration::from_secs(7))
    })
    .await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(KEY_1);
    let operation = device.register().await.json()["operationId"].clone();
    let operation = operation.as_str().expect("text");

    let answer = device.poll(operation).await;

    assert_eq!(answer.status, 202);
    assert_eq!(
        answer.text,
        format!(
            r#"{{"operationId":"{operation}","status":"assigning","registrationState":{{"registrationId":"dev-1","status":"assigning"}}}}"#
        )
    );
    assert_eq!(answer.header("Retry-After"), Some("7"));
    assert!(answer.header("Location").is_some());
    assert!(answer.header("Content-Length").is_some());
}

#[tokio::test]
async fn a_finished_poll_answers_200_with_the_registration_of_an_individual_key() {
    let dps = Dps::start().await;
    let enrollment = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({ "deviceId": "Toaster-1" }),
    );
    dps.create("/enrollments/dev-1", &enrollment).await;
    let device = dps.device("dev-1").key(KEY_1);
    let operation = device.register().await.json()["operationId"].clone();
    device.finish(operation.as_str().expect("text")).await;

    let answer = device.poll(operation.as_str().expect("text")).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Retry-After"), None);
    assert_eq!(answer.header("Location"), None);
    assert!(answer.header("Content-Length").is_some());
    let body = answer.json();
    assert_eq!(names(&body), ["operationId", "status", "registrationState"]);
    assert_eq!(body["operationId"], operation);
    assert_eq!(body["status"], "assigned");
    let state = &body["registrationState"];
    let (created, updated) = (
        &state["createdDateTimeUtc"],
        &state["lastUpdatedDateTimeUtc"],
    );
    assert_timestamp(created);
    assert_timestamp(updated);
    assert_etag(&state["etag"]);
    assert_eq!(
        state,
        &json!({
            "symmetricKey": {},
            "registrationId": "dev-1",
            "createdDateTimeUtc": created,
            "assignedHub": "127.0.0.1",
            "deviceId": "Toaster-1",
            "status": "assigned",
            "substatus": "initialAssignment",
            "lastUpdatedDateTimeUtc": updated,
            "etag": state["etag"],
        })
    );
}

#[tokio::test]
async fn a_device_of_a_key_group_receives_its_group() {
    let dps = Dps::start().await;
    dps.create("/enrollmentGroups/grp", &key_group("grp", KEY_1, KEY_2))
        .await;
    let key = crate::common::derive(KEY_1, "dev-1");
    let state = dps.device("dev-1").key(&key).assigned().await;
    assert_eq!(state["symmetricKey"], json!({ "enrollmentGroupId": "grp" }));
    assert_eq!(state["deviceId"], "dev-1");
}

#[tokio::test]
async fn a_device_with_a_certificate_gets_an_x509_part() {
    let dps = Dps::start().await;
    let credentials = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let enrollment = certificate_enrollment("dev-1", credentials.certificate_pem());
    dps.create("/enrollments/dev-1", &enrollment).await;
    let state = dps
        .device("dev-1")
        .certificate(&credentials)
        .assigned()
        .await;
    assert_eq!(
        names(&state),
        [
            "x509",
            "registrationId",
            "createdDateTimeUtc",
            "assignedHub",
            "deviceId",
            "status",
            "substatus",
            "lastUpdatedDateTimeUtc",
            "etag",
        ]
    );
    assert_eq!(state["x509"], json!({}));
}

#[tokio::test]
async fn a_path_is_understood_in_any_case() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let token = Sas::device("0ne00000001", "dev-1").sign(KEY_1);
    let request = dps
        .request(
            "PUT",
            "/0NE00000001/Registrations/DEV-1/REGISTER?Api-Version=2019-03-31",
        )
        .header("Authorization", &token)
        .json(&json!({ "registrationId": "Dev-1" }));
    let answer = Answer::to(request).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let operation = answer.json()["operationId"].clone();
    let operation = operation.as_str().expect("text");
    let path =
        format!("/0ne00000001/REGISTRATIONS/dEv-1/OPERATIONS/{operation}?api-version=2019-03-31");
    let answer = Answer::to(dps.request("GET", &path).header("Authorization", &token)).await;
    assert!(matches!(answer.status, 200 | 202), "{answer:?}");
}

#[tokio::test]
async fn an_id_may_have_every_allowed_character_and_be_percent_encoded() {
    let dps = Dps::start().await;
    let id = "A:b.C_d-9-";
    dps.create("/enrollmentGroups/grp", &key_group("grp", KEY_1, KEY_2))
        .await;
    let key = crate::common::derive(KEY_1, id);
    for in_path in [id, "A%3Ab.C_d-9-", "A%3ab%2EC%5fd%2D9-"] {
        let token = Sas::device("0ne00000001", id).sign(&key);
        let path = format!("/0ne00000001/registrations/{in_path}/register?api-version=2021-06-01");
        let request = dps
            .request("PUT", &path)
            .header("Authorization", token)
            .json(&json!({ "registrationId": id }));
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 202, "{in_path}: {answer:?}");
    }
}

#[tokio::test]
async fn every_api_version_that_clients_speak_is_understood() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    for version in [
        "2017-08-21-preview",
        "2017-08-31-preview",
        "2017-11-15",
        "2018-04-01",
        "2018-09-01-preview",
        "2018-11-01",
        "2019-03-31",
        "2019-04-15",
        "2021-06-01",
        "2021-10-01",
        "2025-07-01-preview",
    ] {
        let device = dps.device("dev-1").key(KEY_1).version(version);
        device.assigned().await;
    }
}

/// The Node client polls with the body `{}`.
#[tokio::test]
async fn a_poll_may_carry_a_body() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(KEY_1);
    let operation = device.register().await.json()["operationId"].clone();
    let operation = operation.as_str().expect("text");
    device.finish(operation).await;
    let poll = device.request("GET", &format!("/operations/{operation}"));
    let answer = Answer::to(poll.json(&json!({}))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// As iot-identity-service writes it: lower-case names, no Accept, no User-Agent, a lower-cased token.
#[tokio::test]
async fn the_barest_request_is_enough() {
    let dps = Dps::start().await;
    dps.create("/enrollments/Dev-1", &key_enrollment("Dev-1", KEY_1, KEY_2))
        .await;
    let token = Sas::device("0ne00000001", "Dev-1")
        .sr("0ne00000001/registrations/dev-1")
        .sign(KEY_1);
    let body = r#"{"registrationId":"Dev-1"}"#;
    let request = format!(
        "PUT /0ne00000001/registrations/Dev-1/register?api-version=2021-06-01 HTTP/1.1\r\n\
         content-type: application/json\r\nauthorization: {token}\r\nhost: localhost\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = dps.connect().await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
    assert!(
        answer.contains("location: https://localhost/0ne00000001/registrations/Dev-1/register\r\n"),
        "{answer}"
    );
    assert!(answer.contains("content-length: "), "{answer}");
    assert!(!answer.contains("transfer-encoding"), "{answer}");
}

#[tokio::test]
async fn a_body_need_not_repeat_the_id_and_unknown_fields_do_not_matter() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(KEY_1);
    for body in [
        json!({}),
        json!({ "payload": null }),
        json!({ "payload": [1, "two"], "later": { "field": true } }),
        json!({ "REGISTRATIONID": "dev-1" }),
    ] {
        let document = device.provision_with(body.clone()).await;
        assert_eq!(document["status"], "assigned", "{body}");
    }
}

#[tokio::test]
async fn a_legacy_force_registration_parameter_is_ignored() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let token = Sas::device("0ne00000001", "dev-1").sign(KEY_1);
    let path =
        "/0ne00000001/registrations/dev-1/register?api-version=2018-11-01&forceRegistration=true";
    let request = dps.request("PUT", path).header("Authorization", token);
    let answer = Answer::to(request.json(&json!({ "registrationId": "dev-1" }))).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test]
async fn a_lookup_before_the_first_registration_reports_unassigned() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let answer = dps.device("dev-1").key(KEY_1).lookup().await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text,
        r#"{"registrationId":"dev-1","status":"unassigned"}"#
    );
}

#[tokio::test]
async fn a_lookup_after_a_registration_gives_the_registration_itself() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(KEY_1);
    let state = device.assigned().await;
    let answer = device.lookup().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), state);
    assert_eq!(answer.header("Retry-After"), None);
}

#[tokio::test]
async fn a_disabled_enrollment_answers_with_an_empty_operation_id() {
    let dps = Dps::start().await;
    let enrollment = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({ "provisioningStatus": "disabled" }),
    );
    dps.create("/enrollments/dev-1", &enrollment).await;
    let device = dps.device("dev-1").key(KEY_1);

    let answer = device.register().await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text,
        r#"{"operationId":"","status":"disabled","registrationState":{"registrationId":"dev-1","status":"disabled"}}"#
    );
    let answer = device.lookup().await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text,
        r#"{"registrationId":"dev-1","status":"disabled"}"#
    );
    let stored = dps.get("/registrations/dev-1").await.json();
    assert_eq!(stored["status"], "disabled");
    assert_eq!(stored.get("assignedHub"), None);
}

#[tokio::test]
async fn only_newer_clients_see_that_a_device_came_back_to_its_hub() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(KEY_1);
    assert_eq!(device.assigned().await["substatus"], "initialAssignment");
    for (version, substatus) in [
        ("2019-03-31", "initialAssignment"),
        ("2019-04-15", "reprovisionedToInitialAssignment"),
        ("2021-06-01", "reprovisionedToInitialAssignment"),
    ] {
        let state = device.clone().version(version).assigned().await;
        assert_eq!(state["substatus"], substatus, "{version}");
    }
}

#[tokio::test]
async fn a_lookup_while_the_device_is_assigned_again_reports_assigning() {
    let dps = Dps::start().await;
    let hook = Hook::start(|body| {
        let known = body["deviceRuntimeContext"].get("currentIotHubHostName");
        known
            .is_none()
            .then(|| (200, r#"{"iotHubHostName":"127.0.0.1"}"#.to_owned()))
    })
    .await;
    let enrollment = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({
            "allocationPolicy": "custom",
            "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
        }),
    );
    dps.create("/enrollments/dev-1", &enrollment).await;
    let device = dps.device("dev-1").key(KEY_1);
    device.assigned().await;
    assert_eq!(device.register().await.status, 202);
    let looked_up = device.lookup().await;
    let stored = dps.get("/registrations/dev-1").await;
    for answer in [&looked_up, &stored] {
        assert_eq!(answer.status, 200);
        let state = answer.json();
        assert_eq!(state["status"], "assigning");
        assert_eq!(
            (state.get("assignedHub"), state.get("substatus")),
            (None, None)
        );
    }
}

/// The documented sample sends `Content-Encoding: utf-8`.
#[tokio::test]
async fn the_headers_of_the_documented_sample_are_accepted() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let request = dps
        .device("dev-1")
        .key(KEY_1)
        .request("PUT", "/register")
        .header("Content-Encoding", "utf-8")
        .header("UserAgent", "C-SDK")
        .header("Accept", "application/json");
    let answer = Answer::to(request.json(&json!({ "registrationId": "dev-1" }))).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// curl and .NET ask before they send a longer body.
#[tokio::test]
async fn a_request_with_expect_100_continue_is_answered() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let token = Sas::device("0ne00000001", "dev-1").sign(KEY_1);
    let head = format!(
        "PUT /0ne00000001/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1\r\n\
         Host: localhost\r\nContent-Type: application/json\r\nAuthorization: {token}\r\n\
         Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    );
    let mut stream = dps.connect().await;
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.expect("answered");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
}
