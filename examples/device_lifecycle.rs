//! The lifecycle of a device and its twin: the device is provisioned, reads its twin, reports, and moves to another hub when
//! the operator changes the policy, first with its twin, then without it. Offline: `cargo run --example device_lifecycle`
use dps_device::{AssignmentFile, DeviceEvent, DeviceEvents, DeviceHandle, Http, Mqtt, ProvisionedDevice};
use dps_device::{ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_emulator::fault::{Effect, Fault, Step};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::enrollment::{EnrollmentGroup, InitialTwin, ReprovisionPolicy};
use dps_types::{HubHostname, SymmetricKey};
use serde_json::json;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

type Toaster = (DeviceHandle, DeviceEvents);

/// The software on the device. It stores its hub in a file.
fn toaster(dps: &Emulator, key: &SymmetricKey, file: AssignmentFile) -> Result<Toaster> {
    let who = SymmetricKeyAttestation::from_group("toaster-1".parse()?, key);
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, Http::default().with_port(dps.https_port()))
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(Roots::from_pem(dps.ca_pem())?);
    let mqtt = Mqtt::default().with_port(dps.mqtt_port());
    Ok(ProvisionedDevice::new(client, file)
        .with_hub(move |hub| hub.with_host(dps_device::Host::LOCALHOST).with_transport(mqtt))
        .connect())
}

/// Prints the hub of the device and its twin.
async fn show((handle, events): &mut Toaster) -> Result<()> {
    let twin = events.drive(handle.twin()).await?;
    let assignment = handle.assignment().ok_or("the device is assigned")?;
    println!("  {} in {}", assignment.device_id(), assignment.hub());
    println!("  desired {}, reported {}", json!(twin.desired.as_map()), json!(twin.reported.as_map()));
    Ok(())
}

/// Waits until the operator asks the device to move, and registers again.
async fn move_when_asked((handle, events): &mut Toaster) -> Result<()> {
    while let Some(event) = events.next().await {
        if let DeviceEvent::Desired(change) = event
            && change.get("move").is_some()
        {
            return Ok(events.drive(handle.reprovision()).await?);
        }
    }
    Err("the connection has ended".into())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dps = Emulator::builder()
        .link_hub("contoso-east".parse::<LinkedHub>()?)
        .link_hub("contoso-west".parse::<LinkedHub>()?)
        .start()
        .await?;
    let (east, west): (HubHostname, HubHostname) = ("contoso-east".parse()?, "contoso-west".parse()?);
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?;
    let groups = service.with_roots(Roots::from_pem(dps.ca_pem())?);
    let groups = groups.enrollment_groups();
    let key = SymmetricKey::generate();
    let toasters = EnrollmentGroup::from_keys("toasters".parse()?, &key, &SymmetricKey::generate())
        .with_initial_twin(InitialTwin::desired([("darkness", "medium")]))
        .allocate_to(east.clone());
    let toasters = groups.create(&toasters).await?;

    let directory = tempfile::tempdir()?;
    let file = AssignmentFile::new(directory.path().join("assignment.json"));
    let mut device = toaster(&dps, &key, file.clone())?;
    println!("provisioned:");
    show(&mut device).await?;

    let (handle, events) = &mut device;
    events.drive(handle.report(json!({"firmware": "1.2.3"}))).await?;
    println!("after its report:");
    show(&mut device).await?;

    // DPS is down and the device boots again: it reads its hub from the file.
    dps.faults().next(Fault::new(Step::Register, Effect::Fail(503)).times(1000));
    drop(device);
    let mut device = toaster(&dps, &key, file)?;
    println!("after a restart, with DPS down:");
    show(&mut device).await?;
    dps.faults().clear();

    let toasters = toasters.allocate_to(west).with_reprovision_policy(ReprovisionPolicy::migrate());
    let toasters = groups.update(&toasters).await?;
    let hub = dps.hub("contoso-east").ok_or("it is linked")?;
    hub.update_desired("toaster-1", json!({"darkness": "high", "move": 1})).await?;
    move_when_asked(&mut device).await?;
    println!("moved with its twin:");
    show(&mut device).await?;
    println!("  the device exists at the old hub: {}", hub.device("toaster-1").await?.is_some());

    groups.update(&toasters.allocate_to(east).with_reprovision_policy(ReprovisionPolicy::reset())).await?;
    let hub = dps.hub("contoso-west").ok_or("it is linked")?;
    hub.update_desired("toaster-1", json!({"move": 2})).await?;
    move_when_asked(&mut device).await?;
    println!("moved with a new twin:");
    show(&mut device).await?;
    println!("  the device exists at the old hub: {}", hub.device("toaster-1").await?.is_some());

    drop(device);
    dps.shutdown().await;
    Ok(())
}
