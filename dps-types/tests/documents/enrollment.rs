//! Enrollments, individually and in bulk: reading, writing, and keeping unknown fields.

use dps_types::enrollment::{
    AllocationPolicyKind, AttestationMechanism, AttestationType, EnrollmentGroup,
    IndividualEnrollment, InitialTwin, ProvisioningStatus, ReprovisionPolicy,
    SymmetricKeyAttestation,
};
use dps_types::tpm::TpmPublic;
use dps_types::{
    BulkEnrollmentGroupOperation, BulkEnrollmentOperation, BulkOperationMode, BulkOperationResult,
    DeviceRegistrationState, ErrorCode, QuerySpecification, RegistrationStatus, SymmetricKey,
};
use serde_json::{Value, json};

use crate::{read, same, write};

#[test]
fn an_individual_enrollment_is_written_in_the_services_order() {
    let enrollment: IndividualEnrollment = same(
        r#"{"registrationId":"dev1","deviceId":"Dev#1",
        "registrationState":{"registrationId":"dev1","status":"unassigned"},
        "optionalDeviceInformation":{"floor":7},"attestation":{"type":"tpm","tpm":{"endorsementKey":"AToAAQ=="}},
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
fn an_x509_group_reports_its_certificates() {
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
fn built_enrollments_have_the_json_that_the_service_expects() {
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
fn hubs_set_an_allocation_policy_and_a_webhook_sets_custom_allocation() {
    let hub = || "hub.azure-devices.net".parse().unwrap();
    let group = || EnrollmentGroup::ca_reference("grp".parse().unwrap(), "root");
    let chosen = |group: EnrollmentGroup| {
        let webhook = group.custom_allocation_definition.is_some();
        (group.allocation_policy.unwrap(), webhook)
    };
    let by_webhook = || group().allocate_by_webhook("https://f.test");
    for (made, expected) in [
        (
            group().with_hubs([hub()]),
            (AllocationPolicyKind::Hashed, false),
        ),
        (
            group().allocate_by_latency().with_hubs([hub()]),
            (AllocationPolicyKind::GeoLatency, false),
        ),
        (
            by_webhook().with_hubs([hub()]),
            (AllocationPolicyKind::Custom, true),
        ),
        (
            by_webhook().allocate_evenly(),
            (AllocationPolicyKind::Hashed, false),
        ),
        (
            by_webhook().allocate_to(hub()),
            (AllocationPolicyKind::Static, false),
        ),
        (
            group().allocate_to(hub()).with_hubs([hub(), hub()]),
            (AllocationPolicyKind::Hashed, false),
        ),
    ] {
        assert_eq!(chosen(made), expected);
    }
    assert_eq!(
        write(&group()),
        json!({"enrollmentGroupId": "grp", "attestation": {"type": "x509", "x509": {"caReferences": {"primary": "root"}}}})
    );
}

#[test]
fn a_tpm_is_enrolled_by_its_endorsement_key() {
    // Of a recorded exchange with the service.
    let recorded = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEAibym9HQP9vxCGF5dVc1Q\
        QsAGe021aUGJzNol1/gycBx3jFsTpwmWbISRwnFvflWd0w2Mc44FAAZNaJOAAxwZvG8GvyLlHh6fGKdh+mSBL4iLH2bZ4Ry22cB3\
        CJVjXmdGoz9Y/j3/NwLndBxQC+baNvzvyVQZ4/A2YL7vzIIj2ik4y+ve9ir7U0GbNdnxskqK1KFIITVVtkTIYyyFTIR0BySjPrRI\
        Dj7r7Mh5uF9HBppGKQCBoVSVV8dI91lNazmSdpGWyqCkO7iM4VvUMv2HT/ym53aYlUrau+Qq87Tu+uQipWYgRdF11KDfcpMHqqzB\
        QQ1NpOJVhrsTrhyJzO7KNw==";
    let key = TpmPublic::from_base64(recorded).unwrap();
    let enrollment = IndividualEnrollment::tpm("dev1".parse().unwrap(), &key);
    assert_eq!(
        write(&enrollment),
        json!({"registrationId": "dev1", "attestation": {"type": "tpm", "tpm": {"endorsementKey": recorded}}})
    );
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
fn enum_values_are_read_in_any_case_and_written_in_that_of_the_service() {
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

/// Java's and C#'s SDKs read an enrollment, whose keys the service leaves out, and write it back with empty strings.
#[test]
fn a_key_that_is_an_empty_string_is_absent_and_is_written_back() {
    for (primary, is_absent) in [
        (json!(""), true),
        (json!(" \n"), true),
        (json!(null), true),
        (json!("AAECAwQFBgcICQoLDA0ODw=="), false),
        (json!("not a key"), false),
    ] {
        let text = json!({"primaryKey": primary, "secondaryKey": ""}).to_string();
        let keys: SymmetricKeyAttestation = same(&text);
        assert_eq!(keys.primary_key.is_none(), is_absent, "{text}");
        assert_eq!(keys.secondary_key, None);
    }
    let error = serde_json::from_value::<SymmetricKeyAttestation>(json!({"primaryKey": 12345}))
        .expect_err("a number");
    assert_eq!(error.to_string(), "primaryKey: it is not a string");
}
