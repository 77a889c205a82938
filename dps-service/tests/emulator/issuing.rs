//! Enrollments that issue certificates: the names of the certificate authority stay when the enrollment is changed.

use crate::start;
use dps_service::{EnrollmentGroup, IndividualEnrollment, QuerySpecification};
use dps_types::BulkOperationMode;
use dps_types::enrollment::ProvisioningStatus;
use dps_types::protocol::ApiVersion;
use futures_util::TryStreamExt;
use serde::Serialize;
use serde_json::{Value, json};

/// The names of the certificate authority in a document.
fn names(document: &impl Serialize) -> Value {
    let document = serde_json::to_value(document).expect("JSON");
    json!([
        document["namespaceName"],
        document["certificateAuthorityName"],
        document["certificatePolicyName"]
    ])
}

#[tokio::test]
async fn the_names_of_the_certificate_authority_stay_when_a_group_is_read_and_changed() {
    let (emulator, dps) = start().await;
    let groups = dps.enrollment_groups();
    let group: EnrollmentGroup = serde_json::from_value(json!({
        "enrollmentGroupId": "toasters",
        "attestation": {"type": "symmetricKey"},
        "namespaceName": "contoso",
        "certificateAuthorityName": "factory-1",
        "certificatePolicyName": "toasters",
    }))
    .unwrap();
    let id = &group.enrollment_group_id;
    let expected = json!(["contoso", "factory-1", "toasters"]);
    groups.create(&group).await.unwrap();

    for status in [ProvisioningStatus::Disabled, ProvisioningStatus::Enabled] {
        let change = |group: &mut EnrollmentGroup| group.provisioning_status = Some(status.clone());
        let changed = groups.modify(id, change).await.unwrap();
        assert_eq!(names(&changed), expected);
        assert_eq!(changed.provisioning_status, Some(status));
    }
    let read = groups.get(id).await.unwrap();
    assert_eq!(names(&read), expected);
    let updated = groups.update(&read.allocate_evenly()).await.unwrap();
    assert_eq!(names(&updated), expected);

    let query = groups.query(QuerySpecification::default());
    let found: Vec<EnrollmentGroup> = query.try_collect().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(names(&found[0]), expected);
    let update = groups.bulk(BulkOperationMode::Update).run(found);
    assert!(update.finish().await.failed.is_empty());
    assert_eq!(names(&groups.get(id).await.unwrap()), expected);

    let removed = |group: &mut EnrollmentGroup| group.certificate_authority_name = None;
    groups.modify(id, removed).await.unwrap();
    let kept = groups.get(id).await.unwrap();
    assert_eq!(names(&kept), json!(["contoso", null, "toasters"]));
    emulator.shutdown().await;
}

#[tokio::test]
async fn the_names_of_the_certificate_authority_stay_when_a_device_is_changed() {
    let (emulator, dps) = start().await;
    let devices = dps.individual_enrollments();
    let device: IndividualEnrollment = serde_json::from_value(json!({
        "registrationId": "toaster-1",
        "attestation": {"type": "symmetricKey"},
        "namespaceName": "contoso",
        "certificateAuthorityName": "factory-1",
        "certificatePolicyName": "toasters",
    }))
    .unwrap();
    devices.create(&device).await.unwrap();
    let disabled = |device: &mut IndividualEnrollment| {
        device.provisioning_status = Some(ProvisioningStatus::Disabled);
    };
    devices
        .modify(&device.registration_id, disabled)
        .await
        .unwrap();
    let read = devices.get(&device.registration_id).await.unwrap();
    assert_eq!(names(&read), json!(["contoso", "factory-1", "toasters"]));
    assert_eq!(read.provisioning_status, Some(ProvisioningStatus::Disabled));
    emulator.shutdown().await;
}

/// Source: `service.json` of 2025-07-01-preview and 2026-11-01.
#[tokio::test]
async fn the_credential_policy_stays_when_an_enrollment_is_changed() {
    let (emulator, dps) = start().await;
    let device: IndividualEnrollment = serde_json::from_value(json!({
        "registrationId": "toaster-1",
        "attestation": {"type": "symmetricKey"},
        "credentialPolicyName": "short-lived",
    }))
    .unwrap();
    let id = &device.registration_id;
    dps.individual_enrollments().create(&device).await.unwrap();
    let disabled = |device: &mut IndividualEnrollment| {
        device.provisioning_status = Some(ProvisioningStatus::Disabled);
    };
    let devices = dps.individual_enrollments();
    let changed = devices.modify(id, disabled).await.unwrap();
    assert_eq!(
        changed.credential_policy_name.as_deref(),
        Some("short-lived")
    );

    let preview = dps
        .clone()
        .with_api_version(ApiVersion::V2025_07_01_PREVIEW);
    let read = preview.individual_enrollments().get(id).await.unwrap();
    assert_eq!(read.credential_policy_name.as_deref(), Some("short-lived"));
    assert_eq!(read.provisioning_status, Some(ProvisioningStatus::Disabled));

    // A certificate authority takes its place.
    let moved = |device: &mut IndividualEnrollment| {
        device.credential_policy_name = None;
        device.namespace_name = Some("contoso".parse().expect("a name"));
    };
    devices.modify(id, moved).await.unwrap();
    let read = preview.individual_enrollments().get(id).await.unwrap();
    assert_eq!(read.credential_policy_name, None);
    let read = devices.get(id).await.unwrap();
    assert_eq!(names(&read), json!(["contoso", null, null]));
    emulator.shutdown().await;
}
