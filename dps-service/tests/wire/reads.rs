//! Reads of enrollments: with the newest api-version, and with the default one if the service does not have it.

use crate::support::{Action, Seen, Service, answer, answer_with};
use dps_service::{Error, ErrorKind, QuerySpecification, ServiceClient};
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment, ProvisioningStatus};
use dps_types::protocol::ApiVersion;
use dps_types::{BulkOperationMode, ErrorCode};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

const MECHANISM: &str = r#"{"type":"symmetricKey","symmetricKey":{"primaryKey":"c2VjcmV0IHNlY3JldCBzZWNyZXQ=","secondaryKey":"b3RoZXIgb3RoZXIgb3RoZXI="}}"#;
const BULK_DONE: &str = r#"{"isSuccessful":true,"errors":[]}"#;

/// A group that issues certificates, as 2026-11-01 returns it. Source: `service.json` of 2026-11-01.
fn issuing() -> Value {
    json!({
        "enrollmentGroupId": "toasters",
        "attestation": {"type": "symmetricKey"},
        "etag": "IjAi",
        "namespaceName": "contoso-devices",
        "certificateAuthorityName": "Factory-CA",
        "certificatePolicyName": "thirty-days",
        "fieldOfTheFuture": 1,
    })
}

/// The same group, as 2021-10-01 returns it.
fn without_names() -> Value {
    json!({
        "enrollmentGroupId": "toasters",
        "attestation": {"type": "symmetricKey"},
        "etag": "IjAi",
    })
}

fn device() -> Value {
    json!({
        "registrationId": "dev",
        "attestation": {"type": "tpm", "tpm": {"endorsementKey": "AToA"}},
        "etag": "IjAi",
    })
}

fn ok(body: &Value) -> Action {
    answer("200 OK", &body.to_string())
}

fn refused() -> Action {
    let body = r#"{"errorCode":400001,"message":"The api-version is not supported."}"#;
    answer("400 Bad Request", body)
}

fn lines(service: &Service) -> Vec<String> {
    lines_of(&service.seen())
}

fn lines_of(seen: &[Seen]) -> Vec<String> {
    let line = |seen: &Seen| seen.line.trim_end_matches(" HTTP/1.1").to_owned();
    seen.iter().map(line).collect()
}

async fn disable(dps: &ServiceClient) -> Result<EnrollmentGroup, Error> {
    let disabled = |group: &mut EnrollmentGroup| {
        group.provisioning_status = Some(ProvisioningStatus::Disabled);
    };
    let id = "toasters".parse().expect("an id");
    dps.enrollment_groups().modify(&id, disabled).await
}

#[tokio::test]
async fn a_change_keeps_the_fields_of_the_newest_api_version() {
    let script = [
        ok(&issuing()),
        ok(&without_names()),
        answer("200 OK", MECHANISM),
        ok(&issuing()),
    ];
    let service = Service::start(script).await;
    disable(&service.client()).await.unwrap();
    let seen = service.seen();
    assert_eq!(
        lines_of(&seen),
        [
            "GET /enrollmentGroups/toasters?api-version=2026-11-01",
            "GET /enrollmentGroups/toasters?api-version=2025-07-01-preview",
            "POST /enrollmentGroups/toasters/attestationmechanism?api-version=2026-11-01",
            "PUT /enrollmentGroups/toasters?api-version=2026-11-01",
        ]
    );
    let mut expected = issuing();
    expected["provisioningStatus"] = "disabled".into();
    expected["attestation"] = serde_json::from_str(MECHANISM).unwrap();
    assert_eq!(seen[3].json(), expected);
}

/// Source: `service.json` of 2025-07-01-preview and 2026-11-01.
#[tokio::test]
async fn a_change_keeps_a_field_that_only_a_preview_has() {
    let mut preview = without_names();
    preview["credentialPolicyName"] = "short-lived".into();
    preview["fieldOfThePreview"] = 1.into();
    preview["namespaceName"] = Value::Null;
    let script = [
        ok(&without_names()),
        ok(&preview),
        answer("200 OK", MECHANISM),
        ok(&preview),
    ];
    let service = Service::start(script).await;
    disable(&service.client()).await.unwrap();
    let seen = service.seen();
    assert_eq!(
        lines_of(&seen),
        [
            "GET /enrollmentGroups/toasters?api-version=2026-11-01",
            "GET /enrollmentGroups/toasters?api-version=2025-07-01-preview",
            "POST /enrollmentGroups/toasters/attestationmechanism?api-version=2025-07-01-preview",
            "PUT /enrollmentGroups/toasters?api-version=2025-07-01-preview",
        ]
    );
    let mut expected = preview;
    expected["provisioningStatus"] = "disabled".into();
    expected["attestation"] = serde_json::from_str(MECHANISM).unwrap();
    assert_eq!(seen[3].json(), expected);
}

#[tokio::test]
async fn an_enrollment_with_fields_of_two_api_versions_is_not_changed() {
    let mut preview = without_names();
    preview["credentialPolicyName"] = "short-lived".into();
    let service = Service::start([ok(&issuing()), ok(&preview)]).await;
    let error = disable(&service.client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "the enrollment has credentialPolicyName of api-version 2025-07-01-preview and namespaceName of api-version 2026-11-01, \
         and no api-version has both: remove one of them with a chosen api-version"
    );
    assert_eq!(service.seen().len(), 2);
}

/// Another client has added the policy between the two reads: the write is refused, and the next attempt has it.
#[tokio::test]
async fn a_change_between_the_two_reads_is_read_again() {
    let mut changed = without_names();
    changed["etag"] = "IjEi".into();
    let mut preview = changed.clone();
    preview["credentialPolicyName"] = "short-lived".into();
    let mechanism = || answer("200 OK", MECHANISM);
    let conflict = answer("412 Precondition Failed", r#"{"errorCode":412001}"#);
    let script = [
        ok(&without_names()),
        ok(&preview),
        mechanism(),
        conflict,
        ok(&changed),
        ok(&preview),
        mechanism(),
        ok(&preview),
    ];
    let service = Service::start(script).await;
    disable(&service.client()).await.unwrap();
    let seen = service.seen();
    assert_eq!(seen[3].header("if-match"), Some("IjAi"));
    assert_eq!(seen[7].header("if-match"), Some("IjEi"));
    assert_eq!(seen[7].json()["credentialPolicyName"], "short-lived");
}

/// A field that the crate does not know is kept too: it may be one of the newest api-version.
#[tokio::test]
async fn a_change_of_an_enrollment_without_names_has_the_api_version_of_its_read() {
    let service = Service::start([ok(&device()), ok(&device()), ok(&device())]).await;
    let dps = service.client();
    let devices = dps.individual_enrollments();
    devices
        .modify(&"dev".parse().unwrap(), |_: &mut IndividualEnrollment| ())
        .await
        .unwrap();
    assert_eq!(
        lines(&service),
        [
            "GET /enrollments/dev?api-version=2026-11-01",
            "GET /enrollments/dev?api-version=2025-07-01-preview",
            "PUT /enrollments/dev?api-version=2026-11-01",
        ]
    );
}

#[tokio::test]
async fn a_service_without_the_newest_api_version_is_read_and_written_with_the_default() {
    let old = |seen: &Seen| match seen.line.split(' ').next() {
        _ if !seen.line.contains("api-version=2021-10-01") => refused(),
        Some("POST") => answer("200 OK", MECHANISM),
        _ => ok(&without_names()),
    };
    let service = Service::answering(old).await;
    let dps = service.client();
    disable(&dps).await.unwrap();
    assert_eq!(
        lines(&service),
        [
            "GET /enrollmentGroups/toasters?api-version=2026-11-01",
            "GET /enrollmentGroups/toasters?api-version=2021-10-01",
            "GET /enrollmentGroups/toasters?api-version=2025-07-01-preview",
            "POST /enrollmentGroups/toasters/attestationmechanism?api-version=2021-10-01",
            "PUT /enrollmentGroups/toasters?api-version=2021-10-01",
        ]
    );

    let id = "toasters".parse().unwrap();
    let group = dps.enrollment_groups().get(&id).await.unwrap();
    dps.enrollment_groups().update(&group).await.unwrap();
    assert_eq!(
        lines(&service),
        [
            "GET /enrollmentGroups/toasters?api-version=2026-11-01",
            "GET /enrollmentGroups/toasters?api-version=2021-10-01",
            "PUT /enrollmentGroups/toasters?api-version=2021-10-01",
        ]
    );
}

/// The next page does not try the newest api-version again: all pages have the same fields.
#[tokio::test]
async fn the_pages_of_a_query_have_the_api_version_of_the_first() {
    let page = |next: &str| {
        let header = format!("x-ms-continuation: {next}");
        answer_with("200 OK", &header, &json!([device()]).to_string())
    };
    let last = || ok(&json!([device()]));
    for (script, expected) in [
        (
            vec![page("second"), last()],
            vec![
                "POST /enrollments/query?api-version=2026-11-01",
                "POST /enrollments/query?api-version=2026-11-01",
            ],
        ),
        (
            vec![refused(), page("second"), last()],
            vec![
                "POST /enrollments/query?api-version=2026-11-01",
                "POST /enrollments/query?api-version=2021-10-01",
                "POST /enrollments/query?api-version=2021-10-01",
            ],
        ),
    ] {
        let service = Service::start(script).await;
        let dps = service.client();
        let devices = dps.individual_enrollments();
        let query = devices.query(QuerySpecification::default());
        let found: Vec<_> = query.try_collect().await.unwrap();
        assert_eq!(found.len(), 2);
        let seen = service.seen();
        assert_eq!(lines_of(&seen), expected);
        assert!(
            seen.iter()
                .all(|seen| seen.body == r#"{"query":"SELECT *"}"#)
        );
        let continuation = |seen: &Seen| seen.header("x-ms-continuation").map(str::to_owned);
        assert_eq!(continuation(&seen[seen.len() - 2]), None);
        assert_eq!(
            continuation(&seen[seen.len() - 1]).as_deref(),
            Some("second")
        );
    }

    // A refusal of a later page is not about the api-version.
    let service = Service::start([page("second"), refused()]).await;
    let dps = service.client();
    let devices = dps.individual_enrollments();
    let query = devices.query(QuerySpecification::default());
    let error = query.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(service.seen().len(), 2);
}

#[tokio::test]
async fn an_invalid_query_has_the_error_of_the_second_answer() {
    let invalid = r#"{"errorCode":400004,"trackingId":"second","message":"Query is invalid."}"#;
    let service = Service::start([refused(), answer("400 Bad Request", invalid)]).await;
    let dps = service.client();
    let query = QuerySpecification::new("SELECT everything");
    let mut found = dps.enrollment_groups().query(query);
    let error = found.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let details = error.error_details().unwrap();
    assert_eq!(details.error_code, Some(ErrorCode::new(400_004)));
    assert_eq!(details.tracking_id.as_deref(), Some("second"));
    assert_eq!(
        lines(&service),
        [
            "POST /enrollmentGroups/query?api-version=2026-11-01",
            "POST /enrollmentGroups/query?api-version=2021-10-01",
        ]
    );
}

#[tokio::test]
async fn a_read_has_the_newest_api_version_that_is_known_and_not_a_preview() {
    let service = Service::start([ok(&device())]).await;
    let dps = service.client();
    let devices = dps.individual_enrollments();
    devices.get(&"dev".parse().unwrap()).await.unwrap();
    let stable = |text: &String| !text.ends_with("-preview");
    let known = ApiVersion::KNOWN.iter().map(ToString::to_string);
    let newest = known.filter(stable).max().unwrap();
    let expected = format!("GET /enrollments/dev?api-version={newest}");
    assert_eq!(lines(&service), [expected]);
}

#[tokio::test]
async fn both_requests_are_retried() {
    let throttled = || answer_with("429 Too Many Requests", "retry-after: 0", "");
    let script = [throttled(), refused(), throttled(), ok(&device())];
    let service = Service::start(script).await;
    let dps = service.client();
    let devices = dps.individual_enrollments();
    devices.get(&"dev".parse().unwrap()).await.unwrap();
    assert_eq!(
        lines(&service),
        [
            "GET /enrollments/dev?api-version=2026-11-01",
            "GET /enrollments/dev?api-version=2026-11-01",
            "GET /enrollments/dev?api-version=2021-10-01",
            "GET /enrollments/dev?api-version=2021-10-01",
        ]
    );
}

#[tokio::test]
async fn an_api_version_that_was_chosen_is_the_only_one() {
    for version in ["2019-03-31", "2021-10-01", "2026-11-01"] {
        let service = Service::start([refused(), refused(), refused()]).await;
        let dps = service.client().with_api_version(version.parse().unwrap());
        let devices = dps.individual_enrollments();
        let id = "dev".parse().unwrap();
        let read = devices.get(&id).await.unwrap_err();
        let mut query = devices.query(QuerySpecification::default());
        let listed = query.try_next().await.unwrap_err();
        let change = |_: &mut IndividualEnrollment| ();
        let changed = devices.modify(&id, change).await.unwrap_err();
        for error in [read, listed, changed] {
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        assert_eq!(
            lines(&service),
            [
                format!("GET /enrollments/dev?api-version={version}"),
                format!("POST /enrollments/query?api-version={version}"),
                format!("GET /enrollments/dev?api-version={version}"),
            ]
        );
    }
}

/// Only a 400 of the service may be about the api-version.
#[tokio::test]
async fn no_other_refusal_leads_to_a_second_request() {
    let json = "content-type: application/json";
    for (status, header, kind) in [
        ("403 Forbidden", json, ErrorKind::Forbidden),
        ("404 Not Found", json, ErrorKind::NotFound),
        ("405 Method Not Allowed", json, ErrorKind::Invalid),
        ("413 Payload Too Large", json, ErrorKind::Invalid),
        ("501 Not Implemented", json, ErrorKind::Unsupported),
        (
            "400 Bad Request",
            "content-type: text/html",
            ErrorKind::Protocol,
        ),
    ] {
        let service = Service::start([answer_with(status, header, "")]).await;
        let error = disable(&service.client()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        service.only_one();
    }
}

/// Source: `service.json` of 2025-07-01-preview: no other api-version has `credentialPolicyName`.
#[tokio::test]
async fn a_change_may_require_another_api_version_than_its_read() {
    let set = async |dps: &ServiceClient, fields: Value| {
        let change = move |device: &mut IndividualEnrollment| -> Result<(), serde_json::Error> {
            let mut document = serde_json::to_value(&*device)?;
            for (name, value) in fields.as_object().expect("an object") {
                document[name] = value.clone();
            }
            *device = serde_json::from_value(document)?;
            Ok(())
        };
        let devices = dps.individual_enrollments();
        devices.modify(&"dev".parse().unwrap(), change).await
    };
    let policy = json!({"credentialPolicyName": "short-lived"});

    let service = Service::start([ok(&device()), ok(&device()), ok(&device())]).await;
    set(&service.client(), policy.clone()).await.unwrap();
    let written = lines(&service).remove(2);
    assert_eq!(
        written,
        "PUT /enrollments/dev?api-version=2025-07-01-preview"
    );

    let mut named = device();
    named["namespaceName"] = "contoso-devices".into();
    let service = Service::start([ok(&named), ok(&device())]).await;
    let error = set(&service.client(), policy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(service.seen().len(), 2);

    // The service decides: it may have got the api-version in between.
    let names = json!({"namespaceName": "contoso-devices"});
    let script = [refused(), ok(&device()), refused(), refused()];
    let service = Service::start(script).await;
    let error = set(&service.client(), names.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        lines(&service),
        [
            "GET /enrollments/dev?api-version=2026-11-01",
            "GET /enrollments/dev?api-version=2021-10-01",
            "GET /enrollments/dev?api-version=2025-07-01-preview",
            "PUT /enrollments/dev?api-version=2026-11-01",
        ]
    );

    let service = Service::start([ok(&device())]).await;
    let chosen = service.client().with_api_version(ApiVersion::V2021_10_01);
    let error = set(&chosen, names).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    service.only_one();
}

#[tokio::test]
async fn enrollments_that_were_read_are_written_with_their_fields() {
    let script = [
        ok(&issuing()),
        ok(&issuing()),
        ok(&json!([issuing(), without_names()])),
        answer("200 OK", BULK_DONE),
        answer("200 OK", BULK_DONE),
    ];
    let service = Service::start(script).await;
    let dps = service.client();
    let groups = dps.enrollment_groups();
    let group = groups.get(&"toasters".parse().unwrap()).await.unwrap();
    groups.update(&group).await.unwrap();
    let query = groups.query(QuerySpecification::default());
    let found: Vec<EnrollmentGroup> = query.try_collect().await.unwrap();
    let update = groups.bulk(BulkOperationMode::Update).run(found);
    assert!(update.finish().await.failed.is_empty());

    let seen = service.seen();
    assert_eq!(
        lines_of(&seen),
        [
            "GET /enrollmentGroups/toasters?api-version=2026-11-01",
            "PUT /enrollmentGroups/toasters?api-version=2026-11-01",
            "POST /enrollmentGroups/query?api-version=2026-11-01",
            "POST /enrollmentGroups?api-version=2021-10-01",
            "POST /enrollmentGroups?api-version=2026-11-01",
        ]
    );
    assert_eq!(seen[1].json(), issuing());
    assert_eq!(seen[3].json()["enrollmentGroups"], json!([without_names()]));
    assert_eq!(seen[4].json()["enrollmentGroups"], json!([issuing()]));
}
