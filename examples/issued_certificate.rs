//! A certificate that DPS issues: the device registers with its factory key, connects to its hub with the certificate, renews it
//! there, and recovers when the operator revokes it. Offline: `cargo run --example issued_certificate`
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use dps_device::certificate::{
    CertificateEvent, CertificateOptions, CredentialFile, KeyKind, MemoryKeySource, RenewalPlace,
};
use dps_device::{
    AssignmentFile, Clock, DeviceEvent, DeviceEvents, Host, Http, Mqtt, ProvisionedDevice, ProvisioningClient, Roots,
    SymmetricKeyAttestation,
};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::SymmetricKey;
use dps_types::enrollment::IndividualEnrollment;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// A clock that can be moved forward, so that the example does not take 24 days.
#[derive(Debug, Clone, Default)]
struct Days(Arc<AtomicU64>);

impl Clock for Days {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::Relaxed) * 86400)
    }
}

/// Prints what happens to the certificate, until the hub has accepted a new one.
async fn until_in_use(events: &mut DeviceEvents) -> Result<()> {
    while let Some(event) = events.next().await {
        match event {
            DeviceEvent::Registering => println!("  registering with the factory key"),
            DeviceEvent::Certificate(CertificateEvent::Renewing(RenewalPlace::Hub)) => {
                println!("  renewing at the hub");
            }
            DeviceEvent::Certificate(CertificateEvent::Issued(certificate)) => {
                println!(
                    "  issued: {} certificates, {} days",
                    certificate.chain().count(),
                    certificate.lifetime().as_secs() / 86400
                );
            }
            DeviceEvent::Certificate(CertificateEvent::InUse { .. }) => {
                println!("  the hub accepted it");
                return Ok(());
            }
            _ => {}
        }
    }
    Err("the connection has ended".into())
}

#[tokio::main]
async fn main() -> Result<()> {
    let days = Days::default();
    let dps = Emulator::builder()
        .link_hub("contoso-toasters".parse::<LinkedHub>()?)
        .certificate_authority("contoso/factory-1/toasters=30".parse()?)
        .clock(Arc::new(days.clone()))
        .start()
        .await?;
    let roots = Roots::from_pem(dps.ca_pem())?;

    // The operator enrolls the device with its factory key, and names the authority that issues its certificates.
    let factory_key = SymmetricKey::generate();
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?.with_roots(roots.clone());
    let toaster = IndividualEnrollment::from_keys("toaster-1".parse()?, &factory_key, &SymmetricKey::generate());
    let toaster = toaster.issue_certificates("contoso".parse()?, "factory-1".parse()?, "toasters".parse()?);
    service.individual_enrollments().create(&toaster).await?;

    // The software on the device.
    let directory = tempfile::tempdir()?;
    let factory = SymmetricKeyAttestation::new("toaster-1".parse()?, factory_key);
    let https = Http::default().with_port(dps.https_port());
    let client = ProvisioningClient::new(dps.id_scope().clone(), factory, https)
        .with_host(Host::LOCALHOST)
        .with_roots(roots)
        .with_clock(days.clone());
    let store = CredentialFile::new(directory.path().join("credential.json"));
    let options = CertificateOptions::new(store, MemoryKeySource::new(KeyKind::P384))
        .with_check_interval(Duration::from_millis(100))
        .with_report();
    let mqtt = Mqtt::default().with_port(dps.mqtt_port());
    let (handle, mut events) =
        ProvisionedDevice::new(client, AssignmentFile::new(directory.path().join("assignment.json")))
            .with_hub(move |hub| hub.with_host(Host::LOCALHOST).with_transport(mqtt))
            .with_certificates(options)
            .connect();

    println!("the first certificate:");
    until_in_use(&mut events).await?;

    println!("after 26 of 30 days:");
    days.0.fetch_add(26, Ordering::Relaxed);
    until_in_use(&mut events).await?;

    println!("after the operator revoked it:");
    dps.issuance().revoke("toaster-1").await?;
    until_in_use(&mut events).await?;

    let twin = events.drive(handle.twin()).await?;
    println!("reported: {}", twin.reported.get("certificate").is_some());
    drop((handle, events));
    dps.shutdown().await;
    Ok(())
}
