//! A device from boot to telemetry, in one loop: it registers, sends messages, changes its interval when the back
//! end asks for it, and responds to a direct method. Offline: `cargo run --example telemetry`
use std::time::Duration;

use dps_device::{AssignmentFile, DeviceEvent, DeviceState, Host, Http, Message, Mqtt, ProvisionedDevice};
use dps_device::{ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_emulator::{DirectMethod, Emulator, HubHandle, LinkedHub, Telemetry};
use dps_service::ServiceClient;
use dps_types::{SymmetricKey, enrollment::EnrollmentGroup};
use serde_json::{Value, json};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// The program on the device. It ends when the back end invokes the method `stop`.
async fn run(device: ProvisionedDevice) -> Result<()> {
    let (handle, mut events) = device.connect();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let mut sent = 0;
    loop {
        tokio::select! {
            // Polling the events drives the connection: it sends, receives, and connects again after a failure.
            event = events.next() => match event.ok_or("the connection has ended")? {
                DeviceEvent::Connected(hub) => println!("device: connected to {hub}"),
                DeviceEvent::Failed { error, .. } => println!("device: {error:#}"),
                DeviceEvent::Twin(twin) => println!("device: desired {}", json!(twin.desired.as_map())),
                DeviceEvent::Desired(change) => {
                    println!("device: changed {}", json!(change.as_map()));
                    let interval = change.get("interval").and_then(Value::as_u64).unwrap_or(50);
                    tick = tokio::time::interval(Duration::from_millis(interval));
                    events.drive(handle.report(json!({"interval": interval}))).await?;
                }
                DeviceEvent::Method(method) if method.name() == "stop" => {
                    method.respond(200, json!({"messages": "many"}))?;
                    break;
                }
                // A method that is not responded to is answered with the status 501.
                _ => {}
            },
            _ = tick.tick(), if handle.state() == DeviceState::Connected => {
                sent += 1;
                let message = Message::json(&json!({"temperature": 20 + sent % 3}))?.with_message_id(sent.to_string());
                // The message is in the queue, and is sent while the events are polled.
                drop(events.drive(handle.enqueue(message)).await?);
            }
        }
    }
    let closed = events.drive(handle.close(Duration::from_secs(10))).await;
    println!("device: closed, {} messages were not sent", closed.not_sent);
    Ok(())
}

/// The back end: waits for telemetry, changes the twin, and stops the device.
async fn back_end(hub: HubHandle) -> Result<()> {
    let mut telemetry = hub.telemetry_stream();
    if let Some(Telemetry::Message(message)) = telemetry.next().await {
        println!("back end: received {}", String::from_utf8_lossy(message.body()));
    }
    hub.update_desired("toaster-1", json!({"interval": 10})).await?;
    while hub.device("toaster-1").await?.is_some_and(|device| device.reported().get("interval").is_none()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let response = hub.invoke_method("toaster-1", &DirectMethod::new("stop")).await?;
    println!("back end: the device responded with {}", response.status);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dps = Emulator::builder().link_hub("contoso-toasters".parse::<LinkedHub>()?).start().await?;
    let key = SymmetricKey::generate();
    let group = EnrollmentGroup::from_keys("toasters".parse()?, &key, &SymmetricKey::generate());
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?;
    service.with_roots(Roots::from_pem(dps.ca_pem())?).enrollment_groups().create(&group).await?;

    let who = SymmetricKeyAttestation::from_group("toaster-1".parse()?, &key);
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, Http::default().with_port(dps.https_port()))
        .with_host(Host::LOCALHOST)
        .with_roots(Roots::from_pem(dps.ca_pem())?);
    let mqtt = Mqtt::default().with_port(dps.mqtt_port());
    let directory = tempfile::tempdir()?;
    let device = ProvisionedDevice::new(client, AssignmentFile::new(directory.path().join("assignment.json")))
        .with_hub(move |hub| hub.with_host(Host::LOCALHOST).with_transport(mqtt));

    let hub = dps.hub("contoso-toasters").ok_or("it is linked")?;
    tokio::try_join!(run(device), back_end(hub))?;
    dps.shutdown().await;
    Ok(())
}
