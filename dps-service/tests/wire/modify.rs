//! Read, change and write: the requests, and changes by other clients in between.

use std::error::Error as _;
use std::time::Duration;

use crate::support::{Action, KEY, Seen, Service, answer};
use dps_service::{Error, ErrorKind, ServiceClient};
use dps_types::enrollment::{EnrollmentGroup, ProvisioningStatus};
use serde_json::json;

const MECHANISM: &str = r#"{"type":"symmetricKey","symmetricKey":{"primaryKey":"c2VjcmV0IHNlY3JldCBzZWNyZXQ=","secondaryKey":"b3RoZXIgb3RoZXIgb3RoZXI="}}"#;

fn stored(etag: &str) -> String {
    json!({
        "enrollmentGroupId": "toasters",
        "attestation": {"type": "symmetricKey"},
        "etag": etag,
        "provisioningStatus": null,
        "fieldOfTheFuture": {"a": [1, null]},
    })
    .to_string()
}

/// The service does not have the preview of 2025, with which the enrollment is read as well.
fn no_preview() -> Action {
    answer("400 Bad Request", r#"{"errorCode":400001}"#)
}

fn read(etag: &str) -> [Action; 3] {
    [
        answer("200 OK", &stored(etag)),
        no_preview(),
        answer("200 OK", MECHANISM),
    ]
}

async fn disable(dps: &ServiceClient) -> Result<EnrollmentGroup, Error> {
    let groups = dps.enrollment_groups();
    let disabled = |group: &mut EnrollmentGroup| {
        group.provisioning_status = Some(ProvisioningStatus::Disabled);
    };
    groups
        .modify(&"toasters".parse().expect("an id"), disabled)
        .await
}

fn methods(seen: &[Seen]) -> Vec<&str> {
    seen.iter()
        .map(|seen| seen.line.split(' ').next().unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn keys_and_unknown_fields_are_kept_and_the_write_has_the_etag_that_was_read() {
    let script = read("IjAi")
        .into_iter()
        .chain([answer("200 OK", &stored("IjEi"))]);
    let service = Service::start(script).await;
    let written = disable(&service.client()).await.unwrap();
    assert_eq!(written.etag.unwrap().as_str(), "IjEi");

    let seen = service.seen();
    assert_eq!(methods(&seen), ["GET", "GET", "POST", "PUT"]);
    assert_eq!(
        seen[2].line,
        "POST /enrollmentGroups/toasters/attestationmechanism?api-version=2026-11-01 HTTP/1.1"
    );
    assert_eq!(seen[3].header("if-match"), Some("IjAi"));
    let sent = seen[3].json();
    assert_eq!(sent["attestation"]["symmetricKey"]["primaryKey"], KEY);
    assert_eq!(
        sent["attestation"]["symmetricKey"]["secondaryKey"],
        "b3RoZXIgb3RoZXIgb3RoZXI="
    );
    assert_eq!(sent["provisioningStatus"], "disabled");
    assert_eq!(sent["fieldOfTheFuture"], json!({"a": [1, null]}));
}

/// Empty keys in the answer of a read mean the same as missing ones: the keys are read separately.
#[tokio::test]
async fn empty_keys_are_replaced_by_the_stored_ones() {
    for keys in [
        json!({ "primaryKey": "", "secondaryKey": "" }),
        json!({ "primaryKey": null, "secondaryKey": null }),
        json!({}),
        json!(null),
    ] {
        let mut document: serde_json::Value = serde_json::from_str(&stored("IjAi")).unwrap();
        document["attestation"]["symmetricKey"] = keys.clone();
        let script = [
            answer("200 OK", &document.to_string()),
            no_preview(),
            answer("200 OK", MECHANISM),
            answer("200 OK", &stored("IjEi")),
        ];
        let service = Service::start(script).await;
        disable(&service.client()).await.unwrap();
        let seen = service.seen();
        assert_eq!(methods(&seen), ["GET", "GET", "POST", "PUT"], "{keys}");
        let sent = seen[3].json();
        assert_eq!(
            sent["attestation"]["symmetricKey"]["primaryKey"], KEY,
            "{keys}"
        );
    }
}

#[tokio::test]
async fn after_a_change_by_another_client_the_change_is_made_to_that_version() {
    let mut script = Vec::from(read("IjAi"));
    script.push(answer("412 Precondition Failed", r#"{"errorCode":412001}"#));
    script.extend(read("IjEi"));
    script.push(answer("200 OK", &stored("IjIi")));
    let service = Service::start(script).await;

    let (dps, mut versions) = (service.client(), Vec::new());
    let see = |group: &mut EnrollmentGroup| versions.push(group.etag.clone().unwrap().to_string());
    let groups = dps.enrollment_groups();
    groups
        .modify(&"toasters".parse().unwrap(), see)
        .await
        .unwrap();
    assert_eq!(versions, ["IjAi", "IjEi"]);
    let seen = service.seen();
    assert_eq!(seen[3].header("if-match"), Some("IjAi"));
    assert_eq!(seen[7].header("if-match"), Some("IjEi"));
}

#[tokio::test]
async fn a_client_that_always_conflicts_gives_up() {
    let service = Service::answering(|seen| match methods(std::slice::from_ref(seen))[0] {
        "GET" => answer("200 OK", &stored("IjAi")),
        "POST" => answer("200 OK", MECHANISM),
        _ => answer("412 Precondition Failed", ""),
    })
    .await;
    let dps = service.client().with_timeout(Duration::from_secs(2));
    let error = disable(&dps).await.unwrap_err();
    let expected = [ErrorKind::PreconditionFailed, ErrorKind::Deadline];
    assert!(expected.contains(&error.kind()), "{error:?}");
    assert!(service.seen().len() >= 3);
}

#[tokio::test]
async fn a_closure_that_fails_writes_nothing() {
    let service = Service::start(read("IjAi")).await;
    let dps = service.client();
    let groups = dps.enrollment_groups();
    let fail = |_: &mut EnrollmentGroup| Err::<(), _>("not on a Friday");
    let error = groups
        .modify(&"toasters".parse().unwrap(), fail)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Change);
    assert_eq!(error.to_string(), "the change failed");
    assert_eq!(error.source().unwrap().to_string(), "not on a Friday");
    assert_eq!(methods(&service.seen()), ["GET", "GET", "POST"]);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_repeated() {
    let service = Service::start(read("IjAi").into_iter().chain([Action::HangUp])).await;
    let error = disable(&service.client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.is_in_doubt());
    assert_eq!(methods(&service.seen()), ["GET", "GET", "POST", "PUT"]);
}

#[tokio::test]
async fn keys_that_a_read_returns_empty_are_read_separately() {
    let stored = r#"{"enrollmentGroupId":"toasters","attestation":{"type":"symmetricKey","symmetricKey":{}},"etag":"IjAi"}"#;
    let ok = |body| answer("200 OK", body);
    let script = [ok(stored), no_preview(), ok(MECHANISM), ok(stored)];
    let service = Service::start(script).await;
    disable(&service.client()).await.unwrap();
    let sent = service.seen().remove(3).json();
    assert_eq!(sent["attestation"]["symmetricKey"]["primaryKey"], KEY);
}

#[tokio::test]
async fn certificates_are_not_read_separately() {
    let stored = r#"{"enrollmentGroupId":"toasters","attestation":{"type":"x509","x509":{"caReferences":{"primary":"root"}}},"etag":"IjAi"}"#;
    let ok = || answer("200 OK", stored);
    let service = Service::start([ok(), no_preview(), ok()]).await;
    disable(&service.client()).await.unwrap();
    assert_eq!(methods(&service.seen()), ["GET", "GET", "PUT"]);
}

#[tokio::test]
async fn without_a_version_nothing_is_written() {
    let stored = r#"{"enrollmentGroupId":"toasters","attestation":{"type":"tpm","tpm":{"endorsementKey":"AToA"}}}"#;
    let service = Service::start([answer("200 OK", stored)]).await;
    let error = disable(&service.client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    service.only_one();
}

#[tokio::test]
async fn a_missing_enrollment_is_not_modified() {
    let service = Service::start([answer("404 Not Found", r#"{"errorCode":404202}"#)]).await;
    let error = disable(&service.client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
