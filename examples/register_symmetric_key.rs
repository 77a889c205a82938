//! A device with its own symmetric key: it registers, its primary key is replaced, and it registers again with the
//! secondary key. Offline, with an emulator in this process: `cargo run --example register_symmetric_key`
//!
//! With your own device and the real service:
//! `DPS_ID_SCOPE=0ne00000A0A DPS_REGISTRATION_ID=toaster-1 DPS_KEY=… cargo run --example register_symmetric_key`
use std::env;

use dps_device::{Event, Http, ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::enrollment::{AttestationMechanism, IndividualEnrollment};
use dps_types::{RegistrationId, SymmetricKey};
use serde_json::json;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// The software on a device. A program that needs no progress awaits `client.register()` instead.
async fn register(client: &ProvisioningClient) -> Result<()> {
    let mut registration = client.register().payload(json!({"model": "toaster"})).events();
    while let Some(event) = registration.next().await {
        match event {
            Event::Connecting => println!("  connecting"),
            Event::Registering => println!("  registering"),
            Event::Assigning { wait, .. } => println!("  assigning; next poll in {wait:.1?}"),
            Event::Retrying { error, wait, .. } => println!("  {error}; retrying in {wait:.1?}"),
            Event::FallingBack { error, .. } => println!("  {error}; falling back to the secondary key"),
            Event::Assigned(assignment) => println!("  {} is assigned to {}", assignment.device_id(), assignment.hub()),
            Event::Failed(error) => return Err(error.into()),
            _ => {} // later versions may add events
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    match env::var("DPS_ID_SCOPE") {
        Ok(id_scope) => with_the_service(&id_scope).await,
        Err(_) => with_an_emulator().await,
    }
}

async fn with_the_service(id_scope: &str) -> Result<()> {
    let variable = |name| env::var(name).map_err(|error| format!("{name}: {error}"));
    let id: RegistrationId = variable("DPS_REGISTRATION_ID")?.parse()?;
    let key = SymmetricKey::from_base64(&variable("DPS_KEY")?)?;
    println!("{id} registers with the service");
    let who = SymmetricKeyAttestation::new(id, key);
    register(&ProvisioningClient::new(id_scope.parse()?, who, Http::default())).await
}

async fn with_an_emulator() -> Result<()> {
    let dps = Emulator::builder().link_hub("contoso-toasters".parse::<LinkedHub>()?).start().await?;
    let roots = Roots::from_pem(dps.ca_pem())?;

    // The operator enrolls the device with two keys.
    let id: RegistrationId = "toaster-1".parse()?;
    let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?.with_roots(roots.clone());
    let enrollment = IndividualEnrollment::from_keys(id.clone(), &primary, &secondary);
    let mut enrollment = service.individual_enrollments().create(&enrollment).await?;

    // The device has both keys.
    let who = SymmetricKeyAttestation::new(id, primary).with_secondary(secondary.clone());
    let transport = Http::default().with_port(dps.https_port());
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, transport)
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(roots);
    println!("with the primary key:");
    register(&client).await?;

    // The operator replaces the primary key. The device does not have the new one yet.
    enrollment.attestation = AttestationMechanism::from_keys(&SymmetricKey::generate(), &secondary);
    service.individual_enrollments().update(&enrollment).await?;
    println!("after the primary key was replaced:");
    register(&client).await?;

    dps.shutdown().await;
    Ok(())
}
