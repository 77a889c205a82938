//! The lifecycle of enrollments.

use crate::start;
use dps_service::{ErrorKind, ServiceClient};
use dps_tls::Roots;
use dps_types::enrollment::{
    AllocationPolicyKind, EnrollmentGroup, IndividualEnrollment, ProvisioningStatus,
};
use dps_types::{EnrollmentGroupId, ErrorCode, RegistrationId};

#[tokio::test]
async fn a_group_is_created_changed_and_deleted() {
    let (emulator, dps) = start().await;
    let groups = dps.enrollment_groups();
    let id: EnrollmentGroupId = "toasters".parse().unwrap();
    let wanted = EnrollmentGroup::symmetric_key(id.clone());

    let error = groups.get(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let created = groups.create(&wanted).await.unwrap();
    let keys = created.attestation.symmetric_key.clone().unwrap();
    assert!(keys.primary_key.as_ref().unwrap().parse().is_ok());

    let error = groups.create(&wanted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let details = error.error_details().unwrap();
    assert_eq!(details.error_code, Some(ErrorCode::ENROLLMENT_GROUP_EXISTS));

    let read = groups.get(&id).await.unwrap();
    assert_eq!(read.etag, created.etag);
    assert_eq!(read.attestation.symmetric_key, None, "reads hold no keys");
    let mechanism = groups.attestation_mechanism(&id).await.unwrap();
    assert_eq!(mechanism.symmetric_key, Some(keys));

    let mut changed = read.clone().allocate_evenly();
    changed.attestation = mechanism.clone();
    let updated = groups.update(&changed).await.unwrap();
    assert_eq!(
        updated.allocation_policy,
        Some(AllocationPolicyKind::Hashed)
    );
    assert_ne!(updated.etag, read.etag);
    assert_eq!(updated.created_date_time_utc, read.created_date_time_utc);
    let kept = groups.attestation_mechanism(&id).await.unwrap();
    assert_eq!(kept, mechanism);

    let error = groups.update(&changed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    let old = read.etag.unwrap();
    let error = groups.delete_if_match(&id, &old).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);

    let replaced = groups.create_or_replace(&wanted).await.unwrap();
    groups
        .delete_if_match(&id, &replaced.etag.unwrap())
        .await
        .unwrap();
    let error = groups.delete(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    emulator.shutdown().await;
}

#[tokio::test]
async fn an_individual_enrollment_is_created_changed_and_deleted() {
    let (emulator, dps) = start().await;
    let all = dps.individual_enrollments();
    let id: RegistrationId = "dev:1".parse().unwrap();
    let wanted = IndividualEnrollment::symmetric_key(id.clone());

    let created = all.create_or_replace(&wanted).await.unwrap();
    let disabled = created.with_provisioning_status(ProvisioningStatus::Disabled);
    all.update(&disabled).await.unwrap();
    let read = all.get(&id).await.unwrap();
    assert_eq!(read.provisioning_status, Some(ProvisioningStatus::Disabled));
    all.delete(&id).await.unwrap();

    let error = dps.registrations().get(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_wrong_policy_key_and_a_wrong_document_are_refused() {
    let (emulator, dps) = start().await;
    let hub = "stranger.azure-devices.net".parse().unwrap();
    let group = EnrollmentGroup::symmetric_key("toasters".parse().unwrap()).with_hubs([hub]);
    let error = dps.enrollment_groups().create(&group).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.error_details().unwrap().message.is_some());

    let text = emulator.service_connection_string();
    let (head, _) = text.split_once("SharedAccessKey=").unwrap();
    let forged = format!("{head}SharedAccessKey=c2VjcmV0IHNlY3JldCBzZWNyZXQ=");
    let stranger = ServiceClient::from_connection_string(&forged)
        .unwrap()
        .with_roots(Roots::from_pem(emulator.ca_pem()).unwrap());
    let id: EnrollmentGroupId = "toasters".parse().unwrap();
    let error = stranger.enrollment_groups().get(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    emulator.shutdown().await;
}
