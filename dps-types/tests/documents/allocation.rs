//! Requests and answers of a webhook, and other spellings of names.

use dps_types::{
    AllocationRequest, AllocationResponse, DeviceRuntimeContext, Enrollment,
    RegistrationOperationStatus, RegistrationStatus,
};
use serde_json::{Value, json};

use crate::{read, refusal, same, write};

#[test]
fn other_spellings_are_understood() {
    let context: DeviceRuntimeContext = read(
        &json!({"registrationId": "d", "currentIoTHubHostname": "hub", "x509": {"clientCertificate": "MII="}}),
    );
    assert_eq!(
        context.current_iot_hub_host_name.as_ref().unwrap().as_str(),
        "hub"
    );
    assert_eq!(write(&context)["currentIotHubHostName"], "hub");
    let answer: AllocationResponse = read(&json!({"iotHubHostname": "hub"}));
    assert_eq!(write(&answer), json!({"iotHubHostName": "hub"}));

    let legacy: RegistrationOperationStatus =
        read(&json!({"operationId": "1.x", "status": "blacklisted",
        "registrationStatus": {"registrationId": "d", "status": "Blacklisted"}}));
    assert_eq!(legacy.status, RegistrationStatus::Disabled);
    let state = legacy.registration_state.unwrap();
    assert_eq!(state.status, Some(RegistrationStatus::Disabled));
}

const ALLOCATION: &str = r#"{"enrollmentGroup":{"enrollmentGroupId":"contoso","attestation":{"type":"symmetricKey"},
    "capabilities":{"iotEdge":false},"etag":"\"13003fea-0000-0300-0000-62d1d5e50000\"","provisioningStatus":"enabled",
    "allocationPolicy":"custom","iotHubs":["hub-a.azure-devices.net","hub-b.azure-devices.net"],
    "customAllocationDefinition":{"webhookUrl":"https://app.azurewebsites.net/api/HttpTrigger1?****","apiVersion":"2021-10-01"}},
    "deviceRuntimeContext":{"registrationId":"dev-007","currentIotHubHostName":"hub-a.azure-devices.net",
    "currentDeviceId":"dev-007","symmetricKey":{},"payload":{"model":"toaster"}},
    "linkedHubs":["hub-a.azure-devices.net","hub-b.azure-devices.net"],"new":1}"#;

#[test]
fn a_request_about_a_device_of_a_group_is_read_and_written() {
    #[derive(serde::Deserialize)]
    struct Hello {
        model: String,
    }
    let request: AllocationRequest = same(ALLOCATION);
    assert_eq!(request.registration_id().as_str(), "dev-007");
    assert_eq!(request.payload::<Hello>().unwrap().model, "toaster");
    assert!(request.links(&"HUB-B.azure-devices.net".parse().unwrap()));
    assert!(!request.links(&"hub-c.azure-devices.net".parse().unwrap()));
    let Enrollment::Group(group) = &request.enrollment else {
        panic!("not a group");
    };
    let etag = group.etag.as_ref().unwrap();
    assert_eq!(etag.as_str(), "\"13003fea-0000-0300-0000-62d1d5e50000\"");

    let wrong = request.payload::<Vec<u8>>().expect_err("not a list");
    assert!(!wrong.is_missing());
    let mut silent = request;
    silent.device_runtime_context.payload = None;
    assert!(silent.payload::<Hello>().err().unwrap().is_missing());
}

#[test]
fn a_payload_is_also_read_from_json_text_in_a_string() {
    #[derive(Debug, serde::Deserialize)]
    struct Hello {
        model: String,
    }
    let mut request: AllocationRequest = same(ALLOCATION);
    let mut with_payload = |payload: Value| {
        request.device_runtime_context.payload = Some(payload);
        request.clone()
    };
    // As the device SDK for Java sends it.
    let java = with_payload(json!("{\"model\":\"toaster\"}"));
    assert_eq!(java.payload::<Hello>().unwrap().model, "toaster");
    // A policy that expects a string, or any value, receives the string.
    assert_eq!(java.payload::<String>().unwrap(), "{\"model\":\"toaster\"}");
    assert!(java.payload::<Value>().unwrap().is_string());
    assert_eq!(with_payload(json!("17")).payload::<u32>().unwrap(), 17);

    for (payload, reason) in [
        (json!("{\"model\":7}"), "invalid type: integer `7`"),
        (json!("{\"make\":1}"), "missing field `model`"),
        (json!("toaster"), "invalid type: string \"toaster\""),
        (json!(""), "invalid type: string \"\""),
        (json!("\"{}\""), "invalid type: string"),
    ] {
        let error = with_payload(payload.clone())
            .payload::<Hello>()
            .unwrap_err();
        assert!(error.to_string().contains(reason), "{payload}: {error}");
    }
}

#[test]
fn a_request_has_exactly_one_enrollment() {
    let mut document: Value = serde_json::from_str(ALLOCATION).unwrap();
    document["individualEnrollment"] = Value::Null;
    let request: AllocationRequest = read(&document);
    assert!(matches!(request.enrollment, Enrollment::Group(_)));
    assert_eq!(write(&request), document);

    document["individualEnrollment"] =
        json!({"registrationId": "d", "attestation": {"type": "none"}});
    let words = "there must be either an individualEnrollment or an enrollmentGroup";
    assert_eq!(refusal::<AllocationRequest>(document.clone()), words);
    document["enrollmentGroup"] = Value::Null;
    let request: AllocationRequest = read(&document);
    assert!(matches!(request.enrollment, Enrollment::Individual(_)));
    document["individualEnrollment"] = Value::Null;
    assert_eq!(refusal::<AllocationRequest>(document), words);
}

#[test]
fn a_webhook_answers() {
    let answer: AllocationResponse = same(
        r#"{"iotHubHostName":"hub-a.azure-devices.net",
        "initialTwin":{"tags":{},"properties":{"desired":{}}},"payload":{}}"#,
    );
    assert_eq!(answer.payload, Some(json!({})));
}
