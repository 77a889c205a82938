//! Older and newer api-versions: only fields and operations that they have are sent.

use crate::support::{Service, answer};
use dps_service::ErrorKind;
use dps_types::enrollment::{
    AttestationMechanism, DeviceCapabilities, EnrollmentGroup, IndividualEnrollment,
    ReprovisionPolicy,
};
use dps_types::protocol::ApiVersion;
use serde_json::{Value, json};

/// A device with a TPM, which every api-version has, and with these fields.
fn device(fields: Value) -> IndividualEnrollment {
    let mut document = json!({
        "registrationId": "dev",
        "attestation": {"type": "tpm", "tpm": {"endorsementKey": "AToA"}},
        "iotHubHostName": "hub.azure-devices.net",
        "initialTwin": {"tags": {"a": 1}},
        "provisioningStatus": "disabled",
    });
    for (name, value) in fields.as_object().expect("an object") {
        document[name] = value.clone();
    }
    serde_json::from_value(document).expect("an enrollment")
}

/// Source: `service.json` of 2017-11-15, 2018-04-01, 2018-09-01-preview, 2021-10-01 and 2025-07-01-preview.
#[tokio::test]
async fn each_field_is_sent_from_its_first_api_version_on() {
    let versions = [
        "2017-11-15",
        "2018-04-01",
        "2018-09-01-preview",
        "2019-03-31",
        "2021-10-01",
        "2025-07-01-preview",
        "2026-11-01",
        "2026-11-02-preview",
    ];
    for (fields, since) in [
        (json!({}), "2017-11-15"),
        (json!({"capabilities": {"iotEdge": true}}), "2018-04-01"),
        (
            json!({"attestation": {"type": "symmetricKey"}}),
            "2018-09-01-preview",
        ),
        (
            json!({"reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": true}}),
            "2018-09-01-preview",
        ),
        (json!({"allocationPolicy": "hashed"}), "2018-09-01-preview"),
        (
            json!({"iotHubs": ["hub.azure-devices.net"]}),
            "2018-09-01-preview",
        ),
        (
            json!({"customAllocationDefinition": {"webhookUrl": "https://f.test", "apiVersion": "2019-03-31"}}),
            "2018-09-01-preview",
        ),
        (json!({"optionalDeviceInformation": {"a": 1}}), "2021-10-01"),
        (json!({"namespaceName": "contoso-devices"}), "2026-11-01"),
        (
            json!({"certificateAuthorityName": "Factory-CA"}),
            "2026-11-01",
        ),
        (
            json!({"certificatePolicyName": "thirty-days"}),
            "2026-11-01",
        ),
        (
            json!({"fieldOfTheFuture": 1, "capabilities": null}),
            "2017-11-15",
        ),
    ] {
        let device = device(fields.clone());
        for text in versions {
            let version: ApiVersion = text.parse().unwrap();
            let stored = serde_json::to_string(&device).unwrap();
            let service = Service::start([answer("200 OK", &stored)]).await;
            let dps = service.client().with_api_version(version);
            let result = dps.individual_enrollments().create(&device).await;
            let seen = service.seen();
            // The api-versions compare as text.
            if text >= since {
                result.unwrap();
                let line = format!("PUT /enrollments/dev?api-version={text} HTTP/1.1");
                assert_eq!(seen[0].line, line);
                assert_eq!(seen[0].json(), serde_json::to_value(&device).unwrap());
            } else {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{text} {fields}");
                assert!(seen.is_empty());
            }
        }
    }
}

/// The preview of 2025 is the only one with it. Source: `service.json` of 2025-07-01-preview and 2026-11-01.
#[tokio::test]
async fn the_credential_policy_is_sent_in_its_preview_only() {
    let device = device(json!({"credentialPolicyName": "short-lived"}));
    let stored = serde_json::to_string(&device).unwrap();
    for version in ["2021-10-01", "2026-11-01", "2026-11-02-preview"] {
        let service = Service::start([]).await;
        let dps = service.client().with_api_version(version.parse().unwrap());
        let error = dps
            .individual_enrollments()
            .create(&device)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "api-version {version} does not have credentialPolicyName: only api-version 2025-07-01-preview has it"
            )
        );
        assert!(service.seen().is_empty());
    }
    let service = Service::start([answer("200 OK", &stored)]).await;
    let preview = service
        .client()
        .with_api_version(ApiVersion::V2025_07_01_PREVIEW);
    preview
        .individual_enrollments()
        .create(&device)
        .await
        .unwrap();
    assert_eq!(
        service.seen()[0].json()["credentialPolicyName"],
        "short-lived"
    );
}

#[tokio::test]
async fn the_default_is_raised_for_a_document_that_requires_a_newer_api_version() {
    let issuing = json!({
        "namespaceName": "contoso-devices",
        "certificateAuthorityName": "Factory-CA",
        "certificatePolicyName": "thirty-days",
    });
    for (fields, version) in [
        (json!({}), "2021-10-01"),
        (json!({"namespaceName": "contoso-devices"}), "2026-11-01"),
        (issuing, "2026-11-01"),
        (
            json!({"credentialPolicyName": "short-lived"}),
            "2025-07-01-preview",
        ),
    ] {
        let device = device(fields);
        let stored = serde_json::to_string(&device).unwrap();
        let service = Service::start([answer("200 OK", &stored), answer("200 OK", &stored)]).await;
        let dps = service.client();
        let devices = dps.individual_enrollments();
        devices.create(&device).await.unwrap();
        devices.get(&device.registration_id).await.unwrap();
        let seen = service.seen();
        assert_eq!(
            seen[0].line,
            format!("PUT /enrollments/dev?api-version={version} HTTP/1.1")
        );
        assert_eq!(
            seen[1].line,
            "GET /enrollments/dev?api-version=2026-11-01 HTTP/1.1"
        );
    }
    let both =
        device(json!({"namespaceName": "contoso-devices", "credentialPolicyName": "short-lived"}));
    let service = Service::start([]).await;
    let error = service
        .client()
        .individual_enrollments()
        .create(&both)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(service.seen().is_empty());
}

/// Groups have them in later api-versions than individual enrollments.
#[tokio::test]
async fn capabilities_of_a_group_are_sent_from_2019_03_31_on() {
    let group = EnrollmentGroup::symmetric_key("g".parse().unwrap())
        .with_capabilities(DeviceCapabilities::iot_edge());
    let stored = serde_json::to_string(&group).unwrap();
    for (version, known) in [
        (ApiVersion::V2018_09_01_PREVIEW, false),
        (ApiVersion::V2019_03_31, true),
    ] {
        let service = Service::start([answer("200 OK", &stored)]).await;
        let dps = service.client().with_api_version(version);
        let result = dps.enrollment_groups().create(&group).await;
        assert_eq!(result.is_ok(), known, "{result:?}");
        assert_eq!(service.seen().len(), usize::from(known));
    }
}

#[tokio::test]
async fn the_error_names_the_field_and_its_first_api_version() {
    let service = Service::start([]).await;
    let dps = service.client().with_api_version(ApiVersion::V2018_04_01);
    let id = || "dev".parse().unwrap();
    let edge = IndividualEnrollment::new(id(), AttestationMechanism::tpm("AToA"))
        .with_capabilities(DeviceCapabilities::iot_edge())
        .with_reprovision_policy(ReprovisionPolicy::never());
    let devices = dps.individual_enrollments();
    let error = devices.create(&edge).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "api-version 2018-04-01 does not have reprovisionPolicy: use api-version 2018-09-01-preview or later"
    );
    let error = devices.attestation_mechanism(&id()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "api-version 2018-04-01 does not have the attestation mechanism operation: use api-version 2018-09-01-preview or later"
    );
    assert!(service.seen().is_empty());
}
