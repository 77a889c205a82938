//! The requests of each operation and their answers, compared with literals.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{KEY, Service, answer, key};
use dps_service::ErrorKind;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::ApiVersion;
use dps_types::sas::SasToken;
use dps_types::{EnrollmentGroupId, ErrorCode, RegistrationId, RegistrationStatus};
use serde_json::json;

const ETAG: &str = "IjBhMDA1ZGVhLTAwMDAtMDMwMC0wMDAwLTYzMGZkYThhMDAwMCI=";
const EXISTS: &str = r#"{"errorCode":409202,"trackingId":"8ad0463c-6427-4479-9dfa-3e8bb7003e9b","message":"EnrollmentGroup already exists.","timestampUtc":"2020-04-10T05:24:22.4718526Z"}"#;

fn toasters() -> EnrollmentGroup {
    EnrollmentGroup::symmetric_key(id("toasters"))
}

fn id(text: &str) -> EnrollmentGroupId {
    text.parse().expect("a group id")
}

fn device(text: &str) -> RegistrationId {
    text.parse().expect("a registration id")
}

/// A group as the service returns it, with a field of a later api-version.
fn stored() -> String {
    json!({
        "enrollmentGroupId": "toasters",
        "attestation": {"type": "symmetricKey"},
        "etag": ETAG,
        "provisioningStatus": null,
        "fieldOfTheFuture": {"a": [1, null]},
    })
    .to_string()
}

#[tokio::test]
async fn create_puts_without_a_condition_and_returns_the_stored_enrollment() {
    let created = format!(
        r#"{{"enrollmentGroupId":"toasters","attestation":{{"type":"symmetricKey","symmetricKey":{{"primaryKey":"{KEY}","secondaryKey":"{KEY}"}}}},"etag":"{ETAG}","createdDateTimeUtc":"2022-08-31T22:02:50.5163352Z"}}"#
    );
    let service = Service::start([answer("200 OK", &created)]).await;

    let dps = service.client();
    let group = dps.enrollment_groups().create(&toasters()).await.unwrap();

    let keys = group.attestation.symmetric_key.unwrap();
    assert_eq!(keys.primary_key.unwrap().parse(), Ok(key()));
    assert_eq!(group.etag.unwrap().as_str(), ETAG);

    let seen = service.only_one();
    assert_eq!(
        seen.line,
        "PUT /enrollmentGroups/toasters?api-version=2021-10-01 HTTP/1.1"
    );
    assert_eq!(seen.header("host"), Some(service.host().as_str()));
    assert_eq!(
        seen.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(seen.header("if-match"), None);
    assert_eq!(
        seen.body,
        r#"{"enrollmentGroupId":"toasters","attestation":{"type":"symmetricKey"}}"#
    );
}

#[tokio::test]
async fn individual_enrollments_have_their_own_path_with_the_id_encoded() {
    let body = r#"{"registrationId":"dev:1","attestation":{"type":"tpm","tpm":{"endorsementKey":"AToA"}}}"#;
    let service = Service::start([
        answer("200 OK", body),
        answer("200 OK", body),
        answer(
            "200 OK",
            r#"{"type":"tpm","tpm":{"endorsementKey":"AToA"}}"#,
        ),
        answer("204 No Content", ""),
    ])
    .await;

    let dps = service.client();
    let all = dps.individual_enrollments();
    let enrollment: IndividualEnrollment = serde_json::from_str(body).unwrap();
    assert_eq!(all.create(&enrollment).await.unwrap(), enrollment);
    assert_eq!(all.get(&device("dev:1")).await.unwrap(), enrollment);
    let mechanism = all.attestation_mechanism(&device("dev:1")).await.unwrap();
    assert_eq!(mechanism, enrollment.attestation);
    all.delete(&device("dev:1")).await.unwrap();

    let seen = service.seen();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "PUT /enrollments/dev%3A1?api-version=2021-10-01 HTTP/1.1",
            "GET /enrollments/dev%3A1?api-version=2026-11-01 HTTP/1.1",
            "POST /enrollments/dev%3A1/attestationmechanism?api-version=2021-10-01 HTTP/1.1",
            "DELETE /enrollments/dev%3A1?api-version=2021-10-01 HTTP/1.1",
        ]
    );
    assert!(seen[1..].iter().all(|seen| seen.body.is_empty()));
    assert!(seen.iter().all(|seen| seen.header("if-match").is_none()));
    assert_eq!(seen[2].header("content-length"), Some("0"));
    assert_eq!(seen[2].header("content-type"), None);
}

#[tokio::test]
async fn the_token_is_for_the_host_in_the_connection_string() {
    let service = Service::start([answer("200 OK", &stored()), answer("200 OK", &stored())]).await;
    let dps = service.client();
    dps.enrollment_groups().get(&id("toasters")).await.unwrap();
    dps.enrollment_groups().get(&id("toasters")).await.unwrap();

    let seen = service.seen();
    let text = seen[0].header("authorization").unwrap();
    let resource = service.host().replace("localhost:", "localhost%3A");
    assert!(text.starts_with(&format!("SharedAccessSignature sr={resource}&sig=")));
    assert!(text.ends_with("&skn=provisioningserviceowner"));

    let token: SasToken = text.parse().unwrap();
    assert!(token.verify(&key()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let lifetime = token.expires_at().duration_since(UNIX_EPOCH + now).unwrap();
    assert!((3539..=3600).contains(&lifetime.as_secs()));
    assert_eq!(seen[1].header("authorization"), Some(text), "used again");
}

#[tokio::test]
async fn a_read_a_change_and_an_update_lose_no_unknown_field() {
    let service = Service::start([answer("200 OK", &stored()), answer("200 OK", &stored())]).await;
    let dps = service.client();
    let group = dps.enrollment_groups().get(&id("toasters")).await.unwrap();
    let group = group.allocate_evenly();
    dps.enrollment_groups().update(&group).await.unwrap();

    let sent = service.seen().remove(1).json();
    assert_eq!(sent["fieldOfTheFuture"], json!({"a": [1, null]}));
    assert_eq!(sent["provisioningStatus"], json!(null));
    assert!(sent.as_object().unwrap().contains_key("provisioningStatus"));
    assert_eq!(sent["allocationPolicy"], "hashed");
}

/// Azure/azure-sdk-for-python#35187 and Azure/azure-iot-sdk-csharp#3076: a PUT without If-Match does not replace.
#[tokio::test]
async fn issue_python_35187_csharp_3076_create_on_an_existing_group_is_a_conflict() {
    let service = Service::start([answer("409 Conflict", EXISTS)]).await;
    let dps = service.client();
    let error = dps
        .enrollment_groups()
        .create(&toasters())
        .await
        .unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.status(), Some(409));
    assert!(!error.is_retryable());
    let details = error.error_details().unwrap();
    assert_eq!(details.error_code, Some(ErrorCode::ENROLLMENT_GROUP_EXISTS));
    assert_eq!(
        details.tracking_id.as_deref(),
        Some("8ad0463c-6427-4479-9dfa-3e8bb7003e9b")
    );
    service.only_one();
}

#[tokio::test]
async fn issue_python_35187_csharp_3076_create_or_replace_replaces_with_an_asterisk() {
    let service = Service::start([
        answer("409 Conflict", EXISTS),
        answer("200 OK", &stored()),
        answer("200 OK", &stored()),
    ])
    .await;
    let dps = service.client();
    let groups = dps.enrollment_groups();
    groups.create_or_replace(&toasters()).await.unwrap();
    let seen = service.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("if-match"), None);
    assert_eq!(seen[1].header("if-match"), Some("*"));
    assert_eq!(seen[0].body, seen[1].body);

    groups.create_or_replace(&toasters()).await.unwrap();
    assert_eq!(service.only_one().header("if-match"), None, "a new one");
}

/// The C# client, version 1, puts quotes around the ETag and around `*`. The service uses it without quotes.
#[tokio::test]
async fn issue_csharp_3076_the_etag_is_sent_exactly_as_it_was_received() {
    let service = Service::start([
        answer("200 OK", &stored()),
        answer("200 OK", &stored()),
        answer("204 No Content", ""),
        answer("200 OK", &stored().replace(ETAG, r#"\"quoted\""#)),
        answer("200 OK", &stored()),
    ])
    .await;
    let dps = service.client();
    let groups = dps.enrollment_groups();
    let group = groups.get(&id("toasters")).await.unwrap();
    groups.update(&group).await.unwrap();
    let etag = group.etag.unwrap();
    groups
        .delete_if_match(&id("toasters"), &etag)
        .await
        .unwrap();
    let quoted = groups.get(&id("toasters")).await.unwrap();
    groups.update(&quoted).await.unwrap();

    let seen = service.seen();
    assert_eq!(seen[1].header("if-match"), Some(ETAG));
    assert_eq!(seen[2].header("if-match"), Some(ETAG));
    assert!(
        seen[2]
            .line
            .starts_with("DELETE /enrollmentGroups/toasters?")
    );
    assert_eq!(seen[4].header("if-match"), Some("\"quoted\""));
}

#[tokio::test]
async fn an_update_without_an_etag_is_not_sent() {
    let service = Service::start([]).await;
    let dps = service.client();
    let error = dps
        .enrollment_groups()
        .update(&toasters())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn registration_records_are_read_and_deleted() {
    let record = r#"{"registrationId":"dev-1","createdDateTimeUtc":"2022-08-31T22:02:50.5163352Z","assignedHub":"hub.azure-devices.net","deviceId":"dev-1","status":"assigned","substatus":"initialAssignment"}"#;
    let service = Service::start([
        answer("200 OK", record),
        answer("204 No Content", ""),
        answer("404 Not Found", r#"{"errorCode":404203,"message":"Gone."}"#),
    ])
    .await;
    let dps = service.client();
    let registrations = dps.registrations();

    let state = registrations.get(&device("dev-1")).await.unwrap();
    assert_eq!(state.status, Some(RegistrationStatus::Assigned));
    assert_eq!(
        state.assigned_hub.unwrap().as_str(),
        "hub.azure-devices.net"
    );
    registrations.delete(&device("dev-1")).await.unwrap();
    let error = registrations.delete(&device("dev-1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let lines: Vec<String> = service.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(
        lines[..2],
        [
            "GET /registrations/dev-1?api-version=2021-10-01 HTTP/1.1",
            "DELETE /registrations/dev-1?api-version=2021-10-01 HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn another_api_version_can_be_chosen() {
    let service = Service::start([answer("200 OK", &stored())]).await;
    let dps = service
        .client()
        .with_api_version(ApiVersion::V2025_07_01_PREVIEW);
    dps.enrollment_groups().get(&id("toasters")).await.unwrap();
    assert_eq!(
        service.only_one().line,
        "GET /enrollmentGroups/toasters?api-version=2025-07-01-preview HTTP/1.1"
    );
}

#[test]
fn operations_can_be_spawned() {
    fn spawnable<T: Send>(_: T) {}
    let text = format!("HostName=localhost;SharedAccessKeyName=me;SharedAccessKey={KEY}");
    let dps = dps_service::ServiceClient::from_connection_string(&text).unwrap();
    let (group, name, registration) = (toasters(), id("toasters"), device("dev-1"));
    spawnable(dps.enrollment_groups().create_or_replace(&group));
    spawnable(dps.enrollment_groups().delete(&name));
    spawnable(dps.registrations().get(&registration));
}
