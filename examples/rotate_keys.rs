//! Replaces the symmetric keys of a device and of a group without locking out any device. Offline, with an emulator in this
//! process: `cargo run --example rotate_keys`
use std::time::Duration;

use dps_device::{Http, ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::SymmetricKey;
use dps_types::enrollment::{
    AttestationMechanism, EnrollmentGroup, IndividualEnrollment, SymmetricKeyAttestation as Keys,
};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// First, the next key becomes the secondary key. The current key stays the primary key.
fn introduce(attestation: &mut AttestationMechanism, next: &SymmetricKey) {
    keys(attestation).secondary_key = Some(next.into());
}

/// When every device has the next key, it becomes the primary key. The old key is not valid any more.
fn retire(attestation: &mut AttestationMechanism, next: &SymmetricKey) {
    keys(attestation).primary_key = Some(next.into());
    keys(attestation).secondary_key = Some((&SymmetricKey::generate()).into());
}

fn keys(attestation: &mut AttestationMechanism) -> &mut Keys {
    attestation.symmetric_key.get_or_insert_default()
}

/// Registers a device with a key and prints the result.
async fn try_out(dps: &Emulator, step: &str, key: &str, who: SymmetricKeyAttestation) -> Result<()> {
    let transport = Http::default().with_port(dps.https_port());
    let device = ProvisioningClient::new(dps.id_scope().clone(), who, transport)
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(Roots::from_pem(dps.ca_pem())?);
    match device.register().await {
        Ok(assignment) => println!("{step}: {} with the {key} key is assigned", assignment.device_id()),
        Err(error) => println!("{step}: with the {key} key: {:?}", error.kind()),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dps =
        Emulator::builder().link_hub("contoso-home".parse::<LinkedHub>()?).retry_after(Duration::ZERO).start().await?;
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?
        .with_roots(Roots::from_pem(dps.ca_pem())?);
    let (devices, groups) = (service.individual_enrollments(), service.enrollment_groups());
    let (old, next) = (SymmetricKey::generate(), SymmetricKey::generate());

    // One device with its own keys.
    let id = "toaster-1".parse()?;
    let who = |key: &SymmetricKey| SymmetricKeyAttestation::new("toaster-1".parse().expect("valid"), key.clone());
    devices.create(&IndividualEnrollment::from_keys(id, &old, &SymmetricKey::generate())).await?;
    let id = "toaster-1".parse()?;
    devices.modify(&id, |device| introduce(&mut device.attestation, &next)).await?;
    try_out(&dps, "introduced", "old", who(&old)).await?;
    try_out(&dps, "introduced", "next", who(&next)).await?;
    devices.modify(&id, |device| retire(&mut device.attestation, &next)).await?;
    try_out(&dps, "retired", "old", who(&old)).await?;
    try_out(&dps, "retired", "next", who(&next)).await?;

    // A group: the key of each device is derived from the key of the group, so each device needs a new one between the two
    // steps.
    let id = "heatpumps".parse()?;
    let who = |key| SymmetricKeyAttestation::from_group("heatpump-1".parse().expect("valid"), key);
    groups.create(&EnrollmentGroup::from_keys("heatpumps".parse()?, &old, &SymmetricKey::generate())).await?;
    groups.modify(&id, |group| introduce(&mut group.attestation, &next)).await?;
    try_out(&dps, "introduced", "old", who(&old)).await?;
    try_out(&dps, "introduced", "next", who(&next)).await?;
    groups.modify(&id, |group| retire(&mut group.attestation, &next)).await?;
    try_out(&dps, "retired", "old", who(&old)).await?;
    try_out(&dps, "retired", "next", who(&next)).await?;

    dps.shutdown().await;
    Ok(())
}
