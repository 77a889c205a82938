//! A device with a certificate: the operator enrolls a root, the device registers with its leaf and the intermediate, then
//! looks up its assignment without registering again. Offline: `cargo run --example register_x509`
use std::fs;

use dps_device::{Http, ProvisioningClient, Roots, X509Attestation};
use dps_emulator::{CertificateAuthority, Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::enrollment::EnrollmentGroup;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dps = Emulator::builder().link_hub("contoso-heatpumps".parse::<LinkedHub>()?).start().await?;
    let roots = Roots::from_pem(dps.ca_pem())?;

    // The factory: an offline root, and an intermediate that issues the certificates of the devices.
    let root = CertificateAuthority::new("Contoso Root")?;
    let factory = root.intermediate("Contoso Factory 7")?;
    let issued = factory.issue("heatpump-1")?;
    let disk = tempfile::tempdir()?; // in place of the storage of the device
    let (chain_file, key_file) = (disk.path().join("device-chain.pem"), disk.path().join("device-key.pem"));
    fs::write(&chain_file, issued.certificate_chain_pem())?; // the leaf first, then the intermediate; no root
    fs::write(&key_file, issued.private_key_pem())?;

    // The operator enrolls all devices whose certificates lead to the root.
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?.with_roots(roots.clone());
    let group = EnrollmentGroup::signing_certificate("heatpumps".parse()?, root.certificate_pem());
    service.enrollment_groups().create(&group).await?;

    // The device: its registration id is the common name of the leaf.
    let who = X509Attestation::from_files(&chain_file, &key_file)?;
    let transport = Http::default().with_port(dps.https_port());
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, transport)
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(roots);
    let assignment = client.register().await?;
    println!("registered: {} is assigned to {}", assignment.device_id(), assignment.hub());
    let proof = assignment.registration().x509.as_ref().ok_or("this device proves itself with X.509")?;
    let group = proof.enrollment_group_id.as_ref().ok_or("this device is a member of a group")?;
    println!("enrolled by: group {group}");

    // After a restart: read the registration record, which changes nothing.
    let known = client.lookup().await?;
    let (status, hub) = (known.status.ok_or("no status")?, known.assigned_hub.ok_or("no hub")?);
    println!("looked up: {status} to {hub}");

    dps.shutdown().await;
    Ok(())
}
