//! The device API: request and response documents.

use dps_types::{
    ErrorCode, RegistrationOperationStatus, RegistrationRequest, RegistrationStatus,
    RegistrationSubstatus, TpmChallenge,
};
use serde_json::{Value, json};

use crate::{read, same, write};

const ASSIGNED: &str = r#"{"operationId":"5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550",
    "status":"assigned","registrationState":{"x509":{"enrollmentGroupId":"grp"},
    "registrationId":"dev1","createdDateTimeUtc":"2022-08-31T22:02:50.5163352Z",
    "assignedHub":"hub.azure-devices.net","deviceId":"dev1",
    "status":"assigned","substatus":"initialAssignment",
    "lastUpdatedDateTimeUtc":"2022-08-31T22:02:50.6963437Z",
    "etag":"IjY5MDAzNTUyLTAwMDAtMDMwMC0wMDAwLTYzMGZkYThhMDAwMCI=","payload":{}}}"#;

#[test]
fn an_assignment_has_the_hub() {
    let answer: RegistrationOperationStatus = same(ASSIGNED);
    assert_eq!(answer.status, RegistrationStatus::Assigned);
    let state = answer.registration_state.expect("a state");
    assert_eq!(
        state.assigned_hub.unwrap().as_str(),
        "hub.azure-devices.net"
    );
    assert_eq!(state.device_id.unwrap().as_str(), "dev1");
    assert_eq!(
        state.substatus,
        Some(RegistrationSubstatus::InitialAssignment)
    );
    assert_eq!(state.payload, Some(json!({})));
    let group = state.x509.unwrap().enrollment_group_id.unwrap();
    assert_eq!(group.as_str(), "grp");
}

/// A malformed optional member must not hide the assignment.
#[test]
fn an_assignment_with_malformed_optional_members_is_read() {
    for (field, value) in [
        ("etag", json!("")),
        ("createdDateTimeUtc", json!("")),
        ("lastUpdatedDateTimeUtc", json!("0001-01-01T00:00:00")),
        ("errorCode", json!("0")),
        ("errorMessage", json!({"text": "none"})),
        (
            "x509",
            json!({"certificateInfo": {"subjectName": "CN=dev1"}}),
        ),
        ("symmetricKey", json!(true)),
    ] {
        let mut document: Value = serde_json::from_str(ASSIGNED).unwrap();
        document["registrationState"][field] = value;
        let answer: RegistrationOperationStatus = read(&document);
        assert_eq!(write(&answer), document);
        let state = answer.registration_state.expect("a state");
        assert!(state.assigned_hub.is_some() && state.device_id.is_some());
    }
}

#[test]
fn a_registration_in_progress_has_only_an_operation_id() {
    let answer: RegistrationOperationStatus =
        same(r#"{"operationId":"5.316aac5bdc130deb.b1e02da8","status":"assigning"}"#);
    assert_eq!(
        answer.operation_id.unwrap().as_str(),
        "5.316aac5bdc130deb.b1e02da8"
    );
    assert_eq!(answer.registration_state, None);
}

#[test]
fn a_failed_registration_has_a_reason() {
    let answer: RegistrationOperationStatus = same(
        r#"{"operationId":"4.x","status":"failed","registrationState":{"registrationId":"dev1",
        "createdDateTimeUtc":"2020-04-10T05:10:52.186984Z","status":"failed","errorCode":400207,
        "errorMessage":"Custom allocation failed with status code: 400",
        "lastUpdatedDateTimeUtc":"2020-04-10T05:10:52.186984Z","etag":"IjY5"}}"#,
    );
    let state = answer.registration_state.expect("a state");
    assert_eq!(state.error_code, Some(ErrorCode::CUSTOM_ALLOCATION_FAILED));
    assert_eq!(
        state.error_message.as_deref(),
        Some("Custom allocation failed with status code: 400")
    );
}

#[test]
fn a_disabled_enrollment_has_an_empty_operation_id() {
    let text = r#"{"operationId":"","status":"disabled",
        "registrationState":{"registrationId":"dev1","status":"disabled"}}"#;
    let answer: RegistrationOperationStatus = same(text);
    assert_eq!(answer.operation_id, None);
    assert_eq!(answer.status, RegistrationStatus::Disabled);

    let made = RegistrationOperationStatus::new(None, RegistrationStatus::Disabled, None);
    assert_eq!(
        write(&made),
        json!({"operationId": "", "status": "disabled"})
    );
    assert_eq!(read::<RegistrationOperationStatus>(&write(&made)), made);
}

#[test]
fn an_operation_id_that_is_absent_or_null_stays_so() {
    for text in [
        r#"{"status":"assigning"}"#,
        r#"{"operationId":null,"status":"assigning"}"#,
    ] {
        let mut answer: RegistrationOperationStatus = same(text);
        assert_eq!(answer.operation_id, None);
        answer.operation_id = Some("4.x".parse().unwrap());
        assert_eq!(
            write(&answer),
            json!({"operationId": "4.x", "status": "assigning"})
        );
    }
}

#[test]
fn a_registration_request_has_the_payload_and_the_tpm() {
    let request: RegistrationRequest = same(
        r#"{"registrationId":"mydevice","tpm":{"endorsementKey":"AToAAQ==","storageRootKey":"ARoAAQ=="},
        "payload":{"a":[1,null]}}"#,
    );
    assert_eq!(
        request.tpm.unwrap().storage_root_key.as_deref(),
        Some("ARoAAQ==")
    );

    let made = RegistrationRequest::new("Dev1".parse().unwrap()).with_payload(json!([1]));
    assert_eq!(
        write(&made),
        json!({"registrationId": "Dev1", "payload": [1]})
    );
    assert_eq!(write(&RegistrationRequest::default()), json!({}));
}

/// The Python client always sends `"payload": null`.
#[test]
fn a_null_payload_counts_as_absent_and_stays_null() {
    let request: RegistrationRequest = same(r#"{"registrationId":"dev1","payload":null}"#);
    assert_eq!(request.payload, None);
    assert!(request.extra.is_null("payload"));
}

#[test]
fn a_tpm_is_challenged() {
    let challenge: TpmChallenge = read(&json!({
        "message": "Authorization required, resend request using supplied key",
        "keyName": "registration", "authenticationKey": "ADQAIA=="
    }));
    assert_eq!(challenge.authentication_key, "ADQAIA==");
    assert_eq!(challenge.key_name.as_deref(), Some("registration"));
    assert_eq!(
        write(&TpmChallenge::new("ADQAIA==")),
        json!({"authenticationKey": "ADQAIA==", "keyName": "registration"})
    );
}

/// .NET's readers assign a property for each member that matches it, in the order of the document: the last one wins.
#[test]
fn the_last_of_several_members_for_one_field_wins() {
    let read = |text: &str| {
        let request: RegistrationRequest = dps_types::json::from_str(text).expect(text);
        (
            request.registration_id.map(|id| id.to_string()),
            request.payload,
        )
    };
    let of = |id: &str| Some(id.to_owned());
    for (text, id, payload) in [
        (
            r#"{"registrationId":"a","registrationId":"b"}"#,
            of("b"),
            None,
        ),
        (
            r#"{"registrationId":"a","RegistrationID":"b"}"#,
            of("b"),
            None,
        ),
        (
            r#"{"REGISTRATIONID":"a","registrationId":"b"}"#,
            of("b"),
            None,
        ),
        (
            r#"{"registrationId":"a","registrationId":null}"#,
            None,
            None,
        ),
        (
            r#"{"registrationId":null,"registrationId":"b"}"#,
            of("b"),
            None,
        ),
        (
            r#"{"payload":1,"Payload":{"a":1,"a":2}}"#,
            None,
            Some(json!({"a": 2})),
        ),
    ] {
        assert_eq!(read(text), (id, payload), "{text}");
    }
}
