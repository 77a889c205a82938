//! Registration records of devices that registered with the emulator.

use dps_device::{Http, ProvisioningClient, SymmetricKeyAttestation};
use dps_emulator::Emulator;
use dps_service::{ErrorKind, FoundRegistration, ServiceClient};
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::{DeviceRegistrationState, RegistrationId, RegistrationStatus, SymmetricKey};
use futures_util::TryStreamExt;

use crate::{roots, start};

async fn register(emulator: &Emulator, who: SymmetricKeyAttestation) {
    let transport = Http::default().with_port(emulator.https_port());
    let device = ProvisioningClient::new(emulator.id_scope().clone(), who, transport)
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(roots(emulator));
    device.register().await.expect("an assignment");
}

async fn all(dps: &ServiceClient) -> Vec<FoundRegistration> {
    let all = dps.registrations().all();
    all.try_collect().await.expect("records")
}

#[tokio::test]
async fn records_are_found_read_and_deleted() {
    let (emulator, dps) = start().await;
    let key = SymmetricKey::generate();
    let group = EnrollmentGroup::from_keys("toasters".parse().unwrap(), &key, &key);
    dps.enrollment_groups().create(&group).await.unwrap();
    for id in ["own-1", "own-2"] {
        let device = IndividualEnrollment::from_keys(id.parse().unwrap(), &key, &key);
        dps.individual_enrollments().create(&device).await.unwrap();
    }
    assert!(all(&dps).await.is_empty());

    let own: RegistrationId = "own-1".parse().unwrap();
    let (t1, t2) = ("t-1".parse().unwrap(), "t-2".parse().unwrap());
    tokio::join!(
        register(
            &emulator,
            SymmetricKeyAttestation::new(own.clone(), key.clone())
        ),
        register(&emulator, SymmetricKeyAttestation::from_group(t1, &key)),
        register(&emulator, SymmetricKeyAttestation::from_group(t2, &key)),
    );

    let group_id = &group.enrollment_group_id;
    let in_group = dps.registrations().in_group(group_id).with_page_size(1);
    let in_group: Vec<DeviceRegistrationState> = in_group.try_collect().await.unwrap();
    assert_eq!(in_group.len(), 2);
    let found = all(&dps).await;
    assert_eq!(found.len(), 3);
    assert_eq!(
        found
            .iter()
            .filter(|found| found.group.as_ref() == Some(group_id))
            .count(),
        2
    );
    assert!(
        found
            .iter()
            .all(|found| found.state.status == Some(RegistrationStatus::Assigned))
    );

    let enrollment = dps.individual_enrollments().get(&own).await.unwrap();
    assert_eq!(
        enrollment.registration_state.unwrap().status,
        Some(RegistrationStatus::Assigned)
    );
    let state = dps.registrations().get(&own).await.unwrap();
    assert_eq!(
        state.assigned_hub.unwrap().as_str(),
        "toasters.azure-devices.net"
    );
    let stale = "stale".parse().unwrap();
    let error = dps
        .registrations()
        .delete_if_match(&own, &stale)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    dps.registrations()
        .delete_if_match(&own, &state.etag.unwrap())
        .await
        .unwrap();
    let error = dps.registrations().get(&own).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(all(&dps).await.len(), 2);
    emulator.shutdown().await;
}
