//! Documents as they stand on the wire, typed from Microsoft's specifications: what is read, what is
//! written, what survives, and what an error says.

use dps_types::enrollment::{
    AllocationPolicyKind, AttestationMechanism, AttestationType, CustomAllocationDefinition,
    EnrollmentGroup, IndividualEnrollment, InitialTwin, ProvisioningStatus, ReprovisionPolicy,
};
use dps_types::{
    AllocationRequest, AllocationResponse, BulkEnrollmentGroupOperation, BulkEnrollmentOperation,
    BulkOperationMode, BulkOperationResult, DeviceRegistrationState, DeviceRuntimeContext,
    Enrollment, ErrorCode, QuerySpecification, RegistrationOperationStatus, RegistrationRequest,
    RegistrationStatus, RegistrationSubstatus, SymmetricKey, TpmChallenge,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn read<T: DeserializeOwned>(document: &Value) -> T {
    serde_json::from_value(document.clone()).expect("readable")
}

fn write(document: &impl Serialize) -> Value {
    serde_json::to_value(document).expect("writable")
}

/// Reads, and checks that nothing is lost, added or moved when it is written.
fn same<T: DeserializeOwned + Serialize>(text: &str) -> T {
    let document: Value = serde_json::from_str(text).expect("JSON");
    let typed: T = serde_json::from_str(text).expect("readable");
    let written = serde_json::to_string(&typed).expect("writable");
    assert_eq!(written, document.to_string());
    typed
}

fn refusal<T: DeserializeOwned>(document: Value) -> String {
    match serde_json::from_value::<T>(document) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    }
}

const ASSIGNED: &str = r#"{"operationId":"5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550",
    "status":"assigned","registrationState":{"x509":{"enrollmentGroupId":"grp"},
    "registrationId":"dev1","createdDateTimeUtc":"2022-08-31T22:02:50.5163352Z",
    "assignedHub":"hub.azure-devices.net","deviceId":"dev1",
    "status":"assigned","substatus":"initialAssignment",
    "lastUpdatedDateTimeUtc":"2022-08-31T22:02:50.6963437Z",
    "etag":"IjY5MDAzNTUyLTAwMDAtMDMwMC0wMDAwLTYzMGZkYThhMDAwMCI=","payload":{}}}"#;

#[test]
fn an_assigned_device_learns_its_hub() {
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

#[test]
fn a_registration_in_progress_has_only_a_handle() {
    let answer: RegistrationOperationStatus =
        same(r#"{"operationId":"5.316aac5bdc130deb.b1e02da8","status":"assigning"}"#);
    assert_eq!(
        answer.operation_id.unwrap().as_str(),
        "5.316aac5bdc130deb.b1e02da8"
    );
    assert_eq!(answer.registration_state, None);
}

#[test]
fn a_failed_registration_says_why() {
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
fn a_device_asks_with_its_payload_and_its_tpm() {
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
fn a_null_payload_is_none_and_stays_null() {
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

#[test]
fn an_individual_enrollment_is_written_in_the_services_order() {
    let enrollment: IndividualEnrollment = same(
        r#"{"registrationId":"dev1","deviceId":"Dev#1",
        "registrationState":{"registrationId":"dev1","status":"unassigned"},
        "optionalDeviceInformation":{"room":7},"attestation":{"type":"tpm","tpm":{"endorsementKey":"AToAAQ=="}},
        "capabilities":{"iotEdge":true},"iotHubHostName":"hub.azure-devices.net",
        "initialTwin":{"tags":{"z":1,"a":2},"properties":{"desired":{"k":"v"}}},"etag":"IjY5",
        "provisioningStatus":"disabled","reprovisionPolicy":{"updateHubAssignment":true,"migrateDeviceData":false},
        "createdDateTimeUtc":"2023-05-19T23:10:45.1256254Z","lastUpdatedDateTimeUtc":"2023-05-19T23:10:45Z",
        "allocationPolicy":"geoLatency","iotHubs":["a.azure-devices.net","b.azure-devices.net"],
        "customAllocationDefinition":{"webhookUrl":"https://f.test/a?code=c","apiVersion":"2021-10-01"},
        "credentialPolicyName":"short-lived"}"#,
    );
    assert_eq!(enrollment.attestation.kind, AttestationType::Tpm);
    assert_eq!(
        enrollment.provisioning_status,
        Some(ProvisioningStatus::Disabled)
    );
    assert_eq!(
        enrollment.reprovision_policy,
        Some(ReprovisionPolicy::reset())
    );
    assert_eq!(
        enrollment.allocation_policy,
        Some(AllocationPolicyKind::GeoLatency)
    );
    assert_eq!(
        enrollment.registration_state.unwrap().status,
        Some(RegistrationStatus::Unassigned)
    );
}

#[test]
fn an_x509_group_tells_about_its_certificates() {
    let group: EnrollmentGroup = same(
        r#"{"enrollmentGroupId":"grp","attestation":{"type":"x509","x509":{
        "signingCertificates":{"primary":{"info":{"subjectName":"CN=ca","sha1Thumbprint":"AB","sha256Thumbprint":"CD",
        "issuerName":"CN=ca","notBeforeUtc":"2023-05-19T23:10:35Z","notAfterUtc":"2023-05-20T23:10:35Z",
        "serialNumber":"3DE5133C","version":3}}},"caReferences":{"primary":"root","secondary":null}}},
        "provisioningStatus":null}"#,
    );
    let x509 = group.attestation.x509.unwrap();
    let info = x509
        .signing_certificates
        .unwrap()
        .primary
        .unwrap()
        .info
        .unwrap();
    assert_eq!((info.subject_name.as_str(), info.version), ("CN=ca", 3));
    assert_eq!(info.not_after_utc.unix_seconds(), 1_684_624_235);
    assert_eq!(x509.ca_references.unwrap().primary.as_deref(), Some("root"));
}

#[test]
fn what_an_operator_builds_is_what_the_service_expects() {
    let key = SymmetricKey::from_bytes([0; 16]).unwrap();
    let hub = || "hub.azure-devices.net".parse().unwrap();
    let group = EnrollmentGroup::from_keys("grp".parse().unwrap(), &key, &key)
        .allocate_by_webhook("https://f.test/api?code=c")
        .with_hubs([hub()])
        .with_initial_twin(InitialTwin::desired([("k", "v")]))
        .with_reprovision_policy(ReprovisionPolicy::never());
    assert_eq!(
        write(&group),
        json!({
            "enrollmentGroupId": "grp",
            "attestation": {"type": "symmetricKey", "symmetricKey": {
                "primaryKey": "AAAAAAAAAAAAAAAAAAAAAA==", "secondaryKey": "AAAAAAAAAAAAAAAAAAAAAA=="}},
            "initialTwin": {"properties": {"desired": {"k": "v"}}},
            "reprovisionPolicy": {"updateHubAssignment": false, "migrateDeviceData": false},
            "allocationPolicy": "custom", "iotHubs": ["hub.azure-devices.net"],
            "customAllocationDefinition": {"webhookUrl": "https://f.test/api?code=c", "apiVersion": "2021-10-01"}
        })
    );
    let device = || "dev1".parse().unwrap();
    for (made, expected) in [
        (
            IndividualEnrollment::symmetric_key(device()).allocate_to(hub()),
            json!({"registrationId": "dev1", "attestation": {"type": "symmetricKey"},
                "allocationPolicy": "static", "iotHubs": ["hub.azure-devices.net"]}),
        ),
        (
            IndividualEnrollment::client_certificate(device(), "PEM").allocate_evenly(),
            json!({"registrationId": "dev1", "attestation": {"type": "x509", "x509":
                {"clientCertificates": {"primary": {"certificate": "PEM"}}}}, "allocationPolicy": "hashed"}),
        ),
        (
            IndividualEnrollment::new(device(), AttestationMechanism::tpm("AToA"))
                .with_device_id("Dev#1".parse().unwrap())
                .allocate_by_latency(),
            json!({"registrationId": "dev1", "deviceId": "Dev#1", "attestation": {"type": "tpm",
                "tpm": {"endorsementKey": "AToA"}}, "allocationPolicy": "geoLatency"}),
        ),
        (
            IndividualEnrollment::new(device(), AttestationMechanism::ca_reference("root"))
                .with_provisioning_status(ProvisioningStatus::Disabled),
            json!({"registrationId": "dev1", "attestation": {"type": "x509",
                "x509": {"caReferences": {"primary": "root"}}}, "provisioningStatus": "disabled"}),
        ),
    ] {
        assert_eq!(write(&made), expected);
    }
}

#[test]
fn explicit_nulls_stay_until_they_are_dropped() {
    let text = r#"{"registrationId":"dev1","deviceId":null,"optionalDeviceInformation":null,
        "attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":null,"secondaryKey":null}},
        "capabilities":null,"iotHubHostName":null,"initialTwin":{"tags":null,"properties":{"desired":null}},
        "provisioningStatus":null,"reprovisionPolicy":null,"iotHubs":null,"customAllocationDefinition":null}"#;
    let mut enrollment: IndividualEnrollment = same(text);
    assert!(enrollment.extra.is_null("provisioningStatus") && !enrollment.extra.is_null("etag"));
    enrollment.extra.drop_nulls(&["provisioningStatus"]);
    enrollment.attestation.symmetric_key = None;
    enrollment.initial_twin = None;
    assert_eq!(
        write(&enrollment),
        json!({"registrationId": "dev1", "attestation": {"type": "symmetricKey"}, "provisioningStatus": null})
    );
    enrollment.provisioning_status = Some(ProvisioningStatus::Enabled);
    assert_eq!(write(&enrollment)["provisioningStatus"], "enabled");
}

#[test]
fn unknown_fields_survive_a_change_at_every_level() {
    let text = r#"{"registrationId":"dev1",
        "registrationState":{"registrationId":"dev1","status":"assigned","new1":1},
        "optionalDeviceInformation":{"anything":{"goes":[]}},
        "attestation":{"type":"x509","tpm":{"endorsementKey":"e","new8":8},"x509":{
            "clientCertificates":{"primary":{"certificate":"c","new2":2},"new3":3},
            "signingCertificates":{"primary":{"info":{"subjectName":"s","sha1Thumbprint":"t","sha256Thumbprint":"t",
                "issuerName":"i","notBeforeUtc":"2023-05-19T23:10:35Z","notAfterUtc":"2023-05-19T23:10:35Z",
                "serialNumber":"1","version":3,"new4":4}}},
            "caReferences":{"primary":"p","new5":5},"new6":6},
            "symmetricKey":{"primaryKey":"k","new7":7},"new9":9},
        "capabilities":{"iotEdge":false,"new10":10},
        "initialTwin":{"tags":{"t":1},"properties":{"desired":{"d":1},"new11":11},"new12":12},
        "etag":"IjY5",
        "reprovisionPolicy":{"updateHubAssignment":true,"migrateDeviceData":true,"new13":13},
        "customAllocationDefinition":{"webhookUrl":"u","apiVersion":"v","new14":14},
        "new15":{"deep":{"er":null}}}"#;
    let mut enrollment: IndividualEnrollment = same(text);
    enrollment
        .reprovision_policy
        .as_mut()
        .unwrap()
        .migrate_device_data = false;
    enrollment.device_id = Some("Dev#1".parse().unwrap());
    let written = write(&enrollment);
    let mut expected: Value = serde_json::from_str(text).unwrap();
    expected["reprovisionPolicy"]["migrateDeviceData"] = false.into();
    expected["deviceId"] = "Dev#1".into();
    assert_eq!(written, expected);
    for number in 1..=15 {
        assert!(
            written.to_string().contains(&format!(r#""new{number}":"#)),
            "new{number}"
        );
    }
}

#[test]
fn unknown_values_survive() {
    let group: EnrollmentGroup = same(
        r#"{"enrollmentGroupId":"grp","attestation":{"type":"quantum"},
        "provisioningStatus":"Paused","allocationPolicy":"cheapest"}"#,
    );
    assert_eq!(
        group.attestation.kind,
        AttestationType::Unknown("quantum".into())
    );
    assert_eq!(group.provisioning_status.unwrap().as_str(), "Paused");
    assert_eq!(
        group.allocation_policy,
        Some(AllocationPolicyKind::Unknown("cheapest".into()))
    );
    let state: DeviceRegistrationState = same(
        r#"{"registrationId":"dev1","status":"hibernating","substatus":"deviceDataCloned","errorCode":499999}"#,
    );
    assert_eq!(
        state.status,
        Some(RegistrationStatus::Unknown("hibernating".into()))
    );
    assert_eq!(state.error_code.unwrap().get(), 499_999);
}

#[test]
fn words_are_read_in_any_case_and_written_in_the_services() {
    let group: EnrollmentGroup = read(&json!({
        "EnrollmentGroupId": "grp", "attestation": {"Type": "SymmetricKey"},
        "allocationPolicy": "Hashed", "provisioningStatus": "ENABLED", "iotHubHostname": "hub"
    }));
    assert_eq!(
        write(&group),
        json!({"enrollmentGroupId": "grp", "attestation": {"type": "symmetricKey"},
            "allocationPolicy": "hashed", "provisioningStatus": "enabled", "iotHubHostName": "hub"})
    );
    let mechanism: AttestationMechanism =
        read(&json!({"type": "Tpm", "Tpm": {"EndorsementKey": "e"}}));
    assert_eq!(mechanism, AttestationMechanism::tpm("e"));
}

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
fn a_webhook_is_asked_about_a_device_of_a_group() {
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
fn a_webhook_is_asked_about_exactly_one_enrollment() {
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

#[test]
fn bulk_operations_are_as_recorded() {
    let result: BulkOperationResult = same(
        r#"{"errors":[{"registrationId":"a","errorCode":409201,"errorStatus":"Enrollment already exists."},
        {"enrollmentGroupId":"g","errorCode":409202,"errorStatus":"EnrollmentGroup already exists."}],
        "isSuccessful":false}"#,
    );
    assert_eq!(result.errors[0].error_code, ErrorCode::ENROLLMENT_EXISTS);
    assert_eq!(
        write(&BulkOperationResult::new(vec![])),
        json!({"errors": [], "isSuccessful": true})
    );
    assert!(!BulkOperationResult::new(result.errors).is_successful);

    let device = IndividualEnrollment::symmetric_key("dev1".parse().unwrap());
    let group = EnrollmentGroup::symmetric_key("grp".parse().unwrap());
    assert_eq!(
        write(&BulkEnrollmentOperation::new(
            BulkOperationMode::UpdateIfMatchETag,
            vec![device]
        )),
        json!({"enrollments": [{"registrationId": "dev1", "attestation": {"type": "symmetricKey"}}],
            "mode": "updateIfMatchETag"})
    );
    assert_eq!(
        write(&BulkEnrollmentGroupOperation::new(
            BulkOperationMode::Create,
            vec![group]
        )),
        json!({"enrollmentGroups": [{"enrollmentGroupId": "grp", "attestation": {"type": "symmetricKey"}}],
            "mode": "create"})
    );
}

#[test]
fn the_query_is_select_all() {
    assert_eq!(
        write(&QuerySpecification::default()),
        json!({"query": "SELECT *"})
    );
    assert_eq!(read::<QuerySpecification>(&json!({"query": ""})).query, "");
}

#[test]
fn an_error_names_the_field() {
    let individual = refusal::<IndividualEnrollment>;
    assert_eq!(individual(json!({})), "registrationId is missing");
    assert_eq!(
        individual(json!({"registrationId": null})),
        "registrationId is missing"
    );
    assert_eq!(
        individual(json!({"registrationId": "a b"})),
        "registrationId: invalid registration id: a character is not allowed"
    );
    assert_eq!(
        individual(json!({"registrationId": "a"})),
        "attestation is missing"
    );
    assert_eq!(
        individual(json!({"registrationId": "a", "attestation": {}})),
        "attestation: type is missing"
    );
    let with = |field: &str, value: Value| {
        let mut document = json!({"registrationId": "a", "attestation": {"type": "none"}});
        document[field] = value;
        individual(document)
    };
    assert_eq!(
        with("createdDateTimeUtc", json!("yesterday")),
        "createdDateTimeUtc: invalid timestamp: it is not a time as in RFC 3339"
    );
    assert_eq!(
        with("reprovisionPolicy", json!({"updateHubAssignment": true})),
        "reprovisionPolicy: migrateDeviceData is missing"
    );
    assert_eq!(
        with("initialTwin", json!({"properties": []})),
        "initialTwin: properties: it is not a JSON object"
    );
    assert_eq!(
        with("iotHubs", json!(["hub", "https://hub"])),
        "iotHubs: invalid hub host name: a character is not allowed"
    );
    assert_eq!(
        refusal::<RegistrationOperationStatus>(
            json!({"operationId": "a/b", "status": "assigning"})
        ),
        "operationId: invalid operation id: a character is not allowed"
    );
    assert_eq!(
        refusal::<RegistrationRequest>(json!([])),
        "it is not a JSON object"
    );
}

#[test]
fn neither_errors_nor_debug_show_a_key() {
    const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQ=";
    for (misplaced, words) in [
        (
            json!({"symmetricKey": SECRET}),
            "symmetricKey: it is not a JSON object",
        ),
        (
            json!({"symmetricKey": {"primaryKey": [SECRET]}}),
            "symmetricKey: primaryKey: it is not a text",
        ),
    ] {
        let mut document = misplaced;
        document["type"] = "symmetricKey".into();
        assert_eq!(refusal::<AttestationMechanism>(document), words);
    }
    let mechanism: AttestationMechanism =
        read(&json!({"type": "symmetricKey", "symmetricKey": {"primaryKey": SECRET}}));
    let shown = format!("{mechanism:?}");
    assert!(
        shown.contains("EncodedKey(..)") && !shown.contains(SECRET),
        "{shown}"
    );

    let webhook = CustomAllocationDefinition::new("https://f.test/api?code=sesame");
    let shown = format!("{webhook:?}");
    assert!(
        shown.contains("https://f.test/api?****") && !shown.contains("sesame"),
        "{shown}"
    );
    assert_eq!(
        write(&webhook)["webhookUrl"],
        "https://f.test/api?code=sesame"
    );
}
