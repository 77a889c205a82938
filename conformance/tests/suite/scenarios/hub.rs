//! The connection to the assigned hub, with every proof.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::{
    AssignmentStore, CachedAssignment, ConnectOptions, DeviceEvent, DeviceEvents, DeviceHandle,
    Error, ErrorKind, HubEndpoint, HubTransport, IdentityRecovery, Message, Mqtt, MqttWebSocket,
    ProvisionedDevice, ProvisioningClient, Recovery, Twin, TwinProperties,
};
use dps_emulator::{CloudToDeviceMessage, DirectMethod, HubHandle};
use serde_json::json;

use crate::case::Case;
use crate::dps::{Dps, HUB, OTHER_HUB};
use crate::proof::DEVICE;

/// Every transport to a hub.
pub(super) fn hub_transports(dps: &Dps) -> [HubTransport; 2] {
    let ports = dps.ports();
    [
        Mqtt::default().with_port(ports.mqtt).into(),
        MqttWebSocket::default().with_port(ports.https).into(),
    ]
}

/// Shorter waits between two attempts to connect than the default ones, which begin with a second.
pub(super) fn short_waits() -> ConnectOptions {
    let waits = Recovery::new().with_waits(Duration::from_millis(10), Duration::from_secs(1));
    ConnectOptions::new().with_recovery(waits)
}

/// A device that is assigned, and its hub over every transport.
async fn assigned(case: Case) -> (Dps, [HubEndpoint; 2]) {
    let (dps, client) = case.enrolled().await;
    let assignment = client.register().await.expect("the device is assigned");
    let hub = client
        .hub(&assignment)
        .with_host(std::net::Ipv4Addr::LOCALHOST);
    let hubs = hub_transports(&dps).map(|kind| hub.clone().with_transport(kind));
    (dps, hubs)
}

/// A connection in one task.
struct Device {
    handle: DeviceHandle,
    events: DeviceEvents,
}

impl Device {
    fn connect(hub: &HubEndpoint) -> Self {
        let (handle, events) = hub.connect_with(short_waits());
        Self { handle, events }
    }

    async fn twin(&mut self) -> Twin {
        let twin = self.events.drive(self.handle.twin()).await;
        twin.expect("a twin")
    }

    async fn report(&mut self, patch: serde_json::Value) -> u64 {
        let reported = self.events.drive(self.handle.report(patch)).await;
        reported.expect("the report is accepted")
    }

    /// The desired properties of the next event that has some.
    async fn desired(&mut self) -> (bool, TwinProperties) {
        loop {
            match self.events.next().await.expect("an event") {
                DeviceEvent::Twin(twin) => return (true, twin.desired),
                DeviceEvent::Desired(change) => return (false, change),
                _ => {}
            }
        }
    }

    /// Runs until the desired property `darkness` has this value.
    async fn until_darkness(&mut self, darkness: u64) {
        while self.desired().await.1.get("darkness") != Some(&json!(darkness)) {}
    }
}

pub(crate) async fn twin_reported_and_desired(case: Case) {
    let (dps, hubs) = assigned(case).await;
    for (round, hub) in (1..).zip(&hubs) {
        let mut device = Device::connect(hub);
        let twin = device.twin().await;
        let (is_whole, desired) = device.desired().await;
        assert!(is_whole);
        assert_eq!(desired, twin.desired);

        let patch = json!({"firmware": {"round": round}, "gone": null});
        let version = device.report(patch).await;
        assert_eq!(version, twin.reported.version() + 1);
        let seen = dps.hub().device(DEVICE).await.expect("the registry");
        let seen = seen.expect("the device is in the registry");
        assert_eq!(seen.reported()["firmware"], json!({"round": round}));
        assert_eq!(seen.reported_version(), version);

        let change = json!({"darkness": round, "never": null});
        let operator = dps.hub();
        operator
            .update_desired(DEVICE, change)
            .await
            .expect("the twin is changed");
        let (is_whole, change) = device.desired().await;
        assert!(!is_whole);
        assert_eq!(change.version(), twin.desired.version() + 1);
        assert_eq!(change.get("darkness"), Some(&json!(round)));
    }
    drop(hubs);
    dps.finish().await;
}

/// One connection carries both, and what was accepted is sent over a reconnect.
pub(crate) async fn telemetry_and_methods(case: Case) {
    let (dps, hubs) = assigned(case).await;
    let operator = dps.hub();
    for (round, hub) in (1..).zip(&hubs) {
        let mut device = Device::connect(hub);
        let message = Message::json(&json!({"round": round}))
            .expect("it is valid")
            .with_message_id(format!("m{round}"))
            .with_property("alert level", "a+b&c");
        let sent = device.handle.send(message);
        device.events.drive(sent).await.expect("it is acknowledged");
        let received = operator.telemetry(DEVICE);
        let received = received.last().expect("a message");
        assert_eq!(
            received.body(),
            format!(r#"{{"round":{round}}}"#).as_bytes()
        );
        assert_eq!(received.property("alert level"), Some("a+b&c"));

        let reboot = DirectMethod::new("reboot").payload(json!({"round": round}));
        let invoking = operator.invoke_method(DEVICE, &reboot);
        let responding = async {
            loop {
                if let Some(DeviceEvent::Method(method)) = device.events.next().await {
                    assert_eq!(method.name(), "reboot");
                    let payload: serde_json::Value = method.parse().expect("JSON");
                    method.respond(202, payload).expect("it is in time");
                    break;
                }
            }
            let closing = device.handle.close(Duration::from_secs(60));
            device.events.drive(closing).await
        };
        let (response, closed) = tokio::join!(invoking, responding);
        let response = response.expect("the device responds");
        assert_eq!(response.status, 202);
        assert_eq!(response.payload, json!({"round": round}));
        assert_eq!(closed.not_sent, 0);
    }
    dps.finish().await;
}

/// A message waits for the device, and leaves the queue when the program has finished with it.
pub(crate) async fn messages_from_the_cloud(case: Case) {
    let (dps, hubs) = assigned(case).await;
    let operator = dps.hub();
    for hub in &hubs {
        let message = CloudToDeviceMessage::new("hello")
            .message_id("c1")
            .property("level", "a+b");
        operator
            .send_message(DEVICE, &message)
            .await
            .expect("it is queued");
        let mut device = Device::connect(hub);
        let received = loop {
            match device.events.next().await.expect("an event") {
                DeviceEvent::Message(message) => break message,
                _ => continue,
            }
        };
        assert_eq!(received.payload(), b"hello");
        assert_eq!(received.message().message_id(), Some("c1"));
        assert_eq!(received.message().property("level"), Some("a+b"));
        assert_eq!(queued(&operator).await, 1, "it is not acknowledged yet");
        drop(received);
        let closing = device.handle.close(Duration::from_secs(60));
        device.events.drive(closing).await;
        while queued(&operator).await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    dps.finish().await;
}

async fn queued(hub: &HubHandle) -> usize {
    let queued = hub.queued_messages(DEVICE).await;
    queued.expect("the registry")
}

/// A change while the device is disconnected is not lost.
pub(crate) async fn disconnected_by_the_hub(case: Case) {
    let (dps, hubs) = assigned(case).await;
    let operator = dps.hub();
    for (round, hub) in (1..).zip(&hubs) {
        let mut device = Device::connect(hub);
        device.twin().await;
        assert!(operator.disconnect(DEVICE));
        operator
            .update_desired(DEVICE, json!({"darkness": round}))
            .await
            .expect("the twin is changed");
        device.until_darkness(round).await;
    }
    dps.finish().await;
}

pub(crate) async fn one_connection_for_a_device(case: Case) {
    let (dps, [hub, other]) = assigned(case).await;
    let mut first = Device::connect(&hub);
    first.twin().await;
    let mut second = Device::connect(&other);
    second.twin().await;
    // The hub closed the first connection. It reconnects, and the hub closes the second one.
    first.twin().await;
    second.twin().await;
    drop((first, second));
    dps.finish().await;
}

/// A hub closes the connection with the token.
pub(crate) async fn renewed_before_the_token_ends(case: Case) {
    let (dps, [hub, _]) = assigned(case).await;
    let hub = hub.with_token_lifetime(Duration::from_secs(2));
    let has_token = hub.password().await.expect("it signs").is_some();
    let operator = dps.hub();
    let mut device = Device::connect(&hub);
    device.twin().await;
    let begun = dps.wire.begun();
    if has_token {
        device.events.drive(dps.wire.until_begun(begun + 1)).await;
    }
    operator
        .update_desired(DEVICE, json!({"darkness": 7}))
        .await
        .expect("the twin is changed");
    device.until_darkness(7).await;
    drop(device);
    dps.finish().await;
}

/// The first failure of a connection that does not recover from a refusal.
async fn refusal(hub: &HubEndpoint) -> Error {
    let recovery = Recovery::new().with_identity(IdentityRecovery::Never);
    let (_handle, mut events) = hub.connect_with(ConnectOptions::new().with_recovery(recovery));
    loop {
        match events.next().await.expect("a failure") {
            DeviceEvent::Failed { error, .. } => return error,
            DeviceEvent::Connected(_) => panic!("it is an impostor"),
            _ => {}
        }
    }
}

pub(crate) async fn refuses_an_impostor(case: Case) {
    let (dps, client, impostor) = case.enrolled_and_impostor().await;
    client.register().await.expect("the device is assigned");
    let (hub, device) = (HUB.parse().expect("valid"), DEVICE.parse().expect("valid"));
    let hub = impostor.hub_at(hub, device);
    for kind in hub_transports(&dps) {
        let hub = hub
            .clone()
            .with_host(std::net::Ipv4Addr::LOCALHOST)
            .with_transport(kind);
        let error = refusal(&hub).await;
        // A TPM that was never assigned has no key to sign with.
        let kinds = [ErrorKind::Unauthorized, ErrorKind::Signing];
        assert!(kinds.contains(&error.kind()), "{error:?}");
    }
    dps.finish().await;
}

/// The assignment that a device stores over a restart.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Option<CachedAssignment>>>);

impl Memory {
    fn set(&self, to: Option<CachedAssignment>) -> io::Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
        Ok(())
    }
}

#[async_trait]
impl AssignmentStore for Memory {
    async fn load(&self) -> io::Result<Option<CachedAssignment>> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(memory.clone())
    }

    async fn save(&self, assignment: &CachedAssignment) -> io::Result<()> {
        self.set(Some(assignment.clone()))
    }

    async fn clear(&self) -> io::Result<()> {
        self.set(None)
    }
}

fn device(dps: &Dps, client: &ProvisioningClient, memory: &Memory) -> Device {
    let [kind, _] = hub_transports(dps);
    let (handle, events) = ProvisionedDevice::new(client.clone(), memory.clone())
        .with_hub(move |hub| {
            hub.with_host(std::net::Ipv4Addr::LOCALHOST)
                .with_transport(kind)
        })
        .with_options(short_waits())
        .connect();
    Device { handle, events }
}

pub(crate) async fn removed_device_registers_again(case: Case) {
    let (dps, client) = case.enrolled().await;
    let mut device = device(&dps, &client, &Memory::default());
    device.report(json!({"on": 1})).await;
    let operator = dps.hub();
    operator
        .remove(DEVICE)
        .await
        .expect("the device is removed");

    device.report(json!({"on": 2})).await;

    let seen = operator.device(DEVICE).await.expect("the registry");
    let seen = seen.expect("the device is back");
    assert_eq!(seen.reported()["on"], json!(2));
    drop(device);
    dps.finish().await;
}

/// It connects to the hub only.
pub(crate) async fn remembered_over_a_restart(case: Case) {
    let (dps, client) = case.enrolled().await;
    let memory = Memory::default();
    let mut first = device(&dps, &client, &memory);
    first.twin().await;
    drop(first);
    dps.wire.all_closed().await;
    let begun = dps.wire.begun();

    let mut again = device(&dps, &client, &memory);
    again.twin().await;

    assert_eq!(dps.wire.begun(), begun + 1);
    drop(again);
    dps.finish().await;
}

/// The twin moves to the new hub, which is the default of DPS.
pub(crate) async fn moved_to_another_hub(case: Case) {
    let (dps, client, enrollment) = case.enrolled_with_a_choice().await;
    let memory = Memory::default();
    let mut device = device(&dps, &client, &memory);
    device.report(json!({"on": 1})).await;
    let change = json!({"darkness": 3});
    let patched = dps.hub().update_desired(DEVICE, change).await;
    patched.expect("the twin is changed");
    device.until_darkness(3).await;

    enrollment
        .allocated_to(OTHER_HUB)
        .replace(dps.service())
        .await;
    let reprovision = device.handle.reprovision();
    let reprovisioned = device.events.drive(reprovision).await;
    reprovisioned.expect("it is assigned again");

    let home = device.handle.assignment().expect("it has an assignment");
    assert_eq!(home.hub().as_str(), OTHER_HUB);
    assert_eq!(
        memory.load().await.expect("it has an assignment").as_ref(),
        Some(&home)
    );
    let (is_whole, desired) = device.desired().await;
    assert!(is_whole, "the twin of the new hub");
    assert_eq!(desired.get("darkness"), Some(&json!(3)));
    assert_eq!(device.twin().await.reported.get("on"), Some(&json!(1)));
    let left = dps.hub().device(DEVICE).await.expect("the registry");
    assert!(left.is_none(), "the old hub has removed it");
    assert!(dps.hub_named(OTHER_HUB).is_connected(DEVICE));
    drop(device);
    dps.finish().await;
}
