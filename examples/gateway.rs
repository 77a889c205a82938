//! A gateway: 100 devices in one process, each with its own identity, connection and message queue. The devices share one task
//! for their connections. Offline: `cargo run --example gateway`
use std::time::Duration;

use dps_device::{ConnectOptions, DeviceEvents, DeviceHandle, Host, Http, Message, Mqtt};
use dps_device::{ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::{SymmetricKey, enrollment::EnrollmentGroup};
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{SelectAll, StreamExt};
use serde_json::json;

const DEVICES: usize = 100;
const MESSAGES: usize = 10;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Registers a device and creates its connection.
async fn device(dps: &Emulator, key: &SymmetricKey, number: usize) -> Result<(DeviceHandle, DeviceEvents)> {
    let who = SymmetricKeyAttestation::from_group(format!("sensor-{number}").parse()?, key);
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, Http::default().with_port(dps.https_port()))
        .with_host(Host::LOCALHOST)
        .with_roots(Roots::from_pem(dps.ca_pem())?);
    let assignment = client.register().await?;
    let hub = client
        .hub(&assignment)
        .with_host(Host::LOCALHOST)
        .with_transport(Mqtt::default().with_port(dps.mqtt_port()))
        // After an outage of the hub the devices do not connect again at the same moment.
        .with_jitter(Duration::from_secs(30));
    // A sensor only sends.
    let options = ConnectOptions::new().without_twin_events().without_messages().without_methods();
    Ok(hub.connect_with(options))
}

#[tokio::main]
async fn main() -> Result<()> {
    let dps = Emulator::builder()
        .link_hub("contoso-sensors".parse::<LinkedHub>()?)
        .retry_after(Duration::ZERO)
        .start()
        .await?;
    let key = SymmetricKey::generate();
    let group = EnrollmentGroup::from_keys("sensors".parse()?, &key, &SymmetricKey::generate());
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?;
    service.with_roots(Roots::from_pem(dps.ca_pem())?).enrollment_groups().create(&group).await?;

    let devices = try_join_all((0..DEVICES).map(|number| device(&dps, &key, number))).await?;
    let (handles, events): (Vec<_>, Vec<_>) = devices.into_iter().unzip();
    println!("{} devices are registered", handles.len());

    // One task drives all connections. It ends when all of them are closed.
    let mut all: SelectAll<DeviceEvents> = events.into_iter().collect();
    let driving = tokio::spawn(async move { while all.next().await.is_some() {} });

    // Any number of tasks may use the handles. `send` returns when the hub has the message.
    let sending = handles.iter().map(async |handle| {
        for number in 0..MESSAGES {
            handle.send(Message::json(&json!({"number": number}))?).await?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    try_join_all(sending).await?;
    let closed = join_all(handles.iter().map(|handle| handle.close(Duration::from_secs(10)))).await;
    let not_sent: usize = closed.iter().map(|closed| closed.not_sent).sum();
    println!("{not_sent} messages were not sent");
    driving.await?;

    let hub = dps.hub("contoso-sensors").ok_or("it is linked")?;
    let received: u64 = (0..DEVICES).map(|number| hub.telemetry_count(&format!("sensor-{number}"))).sum();
    println!("the hub has received {received} messages");
    dps.shutdown().await;
    Ok(())
}
