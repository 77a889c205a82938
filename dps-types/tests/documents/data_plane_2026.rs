//! The documents of api-versions 2026-11-01 and 2026-11-02-preview with all their members, typed from `device.json` and
//! `service.json`. Those of Device Update are in `device_update.rs`.

use dps_types::enrollment::{
    AllocationPolicyKind, AttestationType, EnrollmentGroup, IndividualEnrollment,
    ProvisioningStatus,
};
use dps_types::{
    BulkEnrollmentGroupOperation, BulkEnrollmentOperation, BulkOperationMode, BulkOperationResult,
    ConnectionProfile, DeviceRegistrationResult, DeviceRegistrationState, ErrorDetails,
    QuerySpecification, RegistrationOperationStatus, RegistrationRequest, RegistrationStatus,
    RegistrationSubstatus,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{read, write};

fn certificate_info() -> Value {
    json!({
        "subjectName": "CN=toaster",
        "sha1Thumbprint": "0000000000000000000000000000000000",
        "sha256Thumbprint": "2671a6e8a1d2b3c4",
        "issuerName": "CN=factory",
        "notBeforeUtc": "2026-11-01T00:00:00Z",
        "notAfterUtc": "2026-12-01T00:00:00Z",
        "serialNumber": "0B",
        "version": 3,
    })
}

fn registration_state() -> Value {
    json!({
        "registrationId": "toaster",
        "createdDateTimeUtc": "2026-11-26T10:00:00Z",
        "assignedHub": "contoso.azure-devices.net",
        "connectionProfile": "mqttV5",
        "deviceId": "toaster",
        "status": "assigned",
        "substatus": "reprovisionedToInitialAssignment",
        "errorCode": 400207,
        "errorMessage": "The webhook refused.",
        "lastUpdatedDateTimeUtc": "2026-11-26T10:00:01Z",
        "etag": "IjY5MDAzNTUyIg==",
        "payload": {"model": "toaster", "list": [1, 2.5, null]},
    })
}

fn registration_result() -> Value {
    let mut result = registration_state();
    result["tpm"] = json!({"authenticationKey": "AQID"});
    result["x509"] = json!({
        "certificateInfo": certificate_info(),
        "enrollmentGroupId": "toasters",
        "signingCertificateInfo": certificate_info(),
    });
    result["symmetricKey"] = json!({"enrollmentGroupId": "toasters"});
    result["issuedCertificateChain"] = json!(["AQ==", "Ag==", "Aw=="]);
    result
}

fn attestation() -> Value {
    let certificate = json!({"certificate": "AQID", "info": certificate_info()});
    let both = json!({"primary": certificate, "secondary": certificate});
    json!({
        "type": "x509",
        "tpm": {"endorsementKey": "AToA", "storageRootKey": "AToB"},
        "x509": {
            "clientCertificates": both,
            "signingCertificates": both,
            "caReferences": {"primary": "ca-1", "secondary": "ca-2"},
        },
        "symmetricKey": {"primaryKey": "AQID", "secondaryKey": "BAUG"},
    })
}

/// The members that both kinds of enrollment have.
fn enrollment() -> Value {
    json!({
        "attestation": attestation(),
        "capabilities": {"iotEdge": true},
        "iotHubHostName": "contoso.azure-devices.net",
        "namespaceName": "contoso-devices",
        "certificateAuthorityName": "Factory-CA",
        "certificatePolicyName": "thirty-days",
        "initialTwin": {
            "tags": {"floor": 3, "version": 1, "count": 1, "metadata": {"lastUpdated": "2026-11-26T10:00:00Z", "lastUpdatedVersion": 1}},
            "properties": {"desired": {"darkness": "medium"}},
        },
        "etag": "IjY5MDAzNTUyIg==",
        "provisioningStatus": "disabled",
        "reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": false},
        "createdDateTimeUtc": "2026-11-26T10:00:00Z",
        "lastUpdatedDateTimeUtc": "2026-11-26T10:00:01Z",
        "allocationPolicy": "geoLatency",
        "iotHubs": ["contoso.azure-devices.net"],
        "customAllocationDefinition": {"webhookUrl": "https://allocate.contoso.example/", "apiVersion": "2021-10-01"},
    })
}

fn individual() -> Value {
    let mut document = enrollment();
    document["registrationId"] = "toaster".into();
    document["deviceId"] = "toaster".into();
    document["registrationState"] = registration_state();
    document["optionalDeviceInformation"] = json!({"line": 7});
    document
}

fn group() -> Value {
    let mut document = enrollment();
    document["enrollmentGroupId"] = "toasters".into();
    document
}

/// Reads a document and writes it again. Returns what was read.
#[track_caller]
fn round_trip<T: DeserializeOwned + Serialize>(document: &Value) -> T {
    let typed: T = read(document);
    assert_eq!(write(&typed), *document);
    typed
}

#[test]
fn every_document_of_the_device_api_is_kept() {
    let request = round_trip::<RegistrationRequest>(&json!({
        "registrationId": "toaster",
        "tpm": {"endorsementKey": "AToA", "storageRootKey": "AToB"},
        "csr": "MIIB",
        "payload": {"model": "toaster"},
    }));
    assert!(request.extra.is_empty());

    let result = round_trip::<DeviceRegistrationResult>(&registration_result());
    assert!(result.extra.is_empty());
    assert!(result.x509.is_some_and(|x509| x509.extra.is_empty()));
    assert_eq!(result.connection_profile, Some(ConnectionProfile::MqttV5));

    let status = round_trip::<RegistrationOperationStatus>(&json!({
        "operationId": "5.316aac5bdc130deb.b1e02da8",
        "status": "assigned",
        "registrationState": registration_result(),
    }));
    assert!(status.extra.is_empty());

    let error = round_trip::<ErrorDetails>(&json!({
        "errorCode": 400004,
        "trackingId": "t-1",
        "message": "No.",
        "info": {"aduErrorCode": "OUTDATED_AGENT_INFO"},
        "timestampUtc": "2026-11-26T10:00:00Z",
    }));
    assert!(error.extra.is_empty());
}

#[test]
fn every_document_of_the_service_api_is_kept() {
    let one = round_trip::<IndividualEnrollment>(&individual());
    assert!(one.extra.is_empty());
    let many = round_trip::<EnrollmentGroup>(&group());
    assert!(many.extra.is_empty());
    let state = round_trip::<DeviceRegistrationState>(&registration_state());
    assert!(state.extra.is_empty());
    round_trip::<QuerySpecification>(&json!({"query": "SELECT * FROM enrollments"}));
    round_trip::<Vec<EnrollmentGroup>>(&json!([group(), group()]));

    round_trip::<BulkEnrollmentOperation>(
        &json!({"enrollments": [individual()], "mode": "updateIfMatchETag"}),
    );
    round_trip::<BulkEnrollmentGroupOperation>(
        &json!({"enrollmentGroups": [group()], "mode": "delete"}),
    );
    for id in ["registrationId", "enrollmentGroupId"] {
        round_trip::<BulkOperationResult>(&json!({
            "errors": [{id: "toaster", "errorCode": 409201, "errorStatus": "It exists."}],
            "isSuccessful": false,
        }));
    }
}

#[test]
fn a_member_that_is_null_is_read_as_absent() {
    let document = json!({"registrationId": "toaster", "connectionProfile": null, "issuedCertificateChain": null});
    let result: DeviceRegistrationResult = read(&document);
    assert_eq!(result.connection_profile, None);
    assert_eq!(result.issued_certificate_chain, None);
}

#[test]
fn every_enum_keeps_an_unknown_value() {
    let word = json!("wordOfTheFuture");
    round_trip::<AllocationPolicyKind>(&word);
    round_trip::<AttestationType>(&word);
    round_trip::<BulkOperationMode>(&word);
    round_trip::<ConnectionProfile>(&word);
    round_trip::<ProvisioningStatus>(&word);
    round_trip::<RegistrationStatus>(&word);
    round_trip::<RegistrationSubstatus>(&word);

    for path in ["status", "substatus", "connectionProfile"] {
        let mut document = registration_result();
        document[path] = word.clone();
        round_trip::<DeviceRegistrationResult>(&document);
    }
    for path in [
        "/provisioningStatus",
        "/allocationPolicy",
        "/attestation/type",
        "/registrationState/connectionProfile",
    ] {
        let mut document = individual();
        *document.pointer_mut(path).expect("a member") = word.clone();
        round_trip::<IndividualEnrollment>(&document);
    }
}
