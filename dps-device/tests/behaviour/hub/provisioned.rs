//! `ProvisionedDevice`: its stored assignment, and the events after which it asks DPS.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::attestation::Proof;
use dps_device::transport::{Reply, Session, Target, TransportError};
use dps_device::{
    AssignmentFile, AssignmentStore, CachedAssignment, DeviceEvent, DeviceState, ErrorKind,
    ProvisionedDevice, ProvisioningClient, Recovery, Transport,
};
use dps_types::{OperationId, RegistrationRequest};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::device::{Device, Update, following, quick};
use super::memory::{Broken, Memory, Stuck};
use super::peer::{HubPeer, REPORT};
use super::{at_server, transport};
use crate::mqtt::MqttKind;
use crate::mqtt::server::Server;
use crate::pki::Pki;
use crate::script::{
    ASSIGNED, POLL, REGISTER, Script, Step, answer, assert_wait, assigned, assigning,
};

pub(super) fn connect(device: ProvisionedDevice) -> Device {
    let (handle, events) = device.with_options(quick()).connect();
    Device { handle, events }
}

/// The root certificate and the server in place of all hubs.
pub(super) struct Hubs {
    pub(super) pki: Pki,
    pub(super) server: Server,
}

impl Hubs {
    pub(super) async fn new() -> Self {
        let pki = Pki::new();
        let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
        Self { pki, server }
    }

    /// A connection of [`provisioned`](Self::provisioned) that receives nothing that it does not ask for.
    pub(super) fn device(&self, dps: &Script, store: impl AssignmentStore + 'static) -> Device {
        connect(self.provisioned(dps, store))
    }

    /// A device with this script as its DPS. All its hubs are at the server.
    pub(super) fn provisioned(
        &self,
        dps: &Script,
        store: impl AssignmentStore + 'static,
    ) -> ProvisionedDevice {
        let client = dps.client().with_min_poll_interval(Duration::ZERO);
        let (roots, port) = (self.pki.roots(), self.server.port());
        ProvisionedDevice::new(client, store).with_hub(move |hub| {
            hub.with_host(dps_device::Host::LOCALHOST)
                .with_roots(roots.clone())
                .with_transport(transport(MqttKind::Mqtt, port))
        })
    }

    /// Refuses the next connection, which must name this hub.
    pub(super) async fn refuse(&self, hub: &str) {
        let mut peer = self.server.accept().await;
        assert_names(&peer.packet().await, hub);
        peer.send(b"\x20\x02\x00\x05").await;
        peer.closed().await;
    }

    /// Accepts the next connection, which must name this hub, and answers its request for the twin.
    pub(super) async fn accept(&self, hub: &str) -> HubPeer {
        let mut peer = HubPeer::accept(&self.server).await;
        assert_names(&peer.connect, hub);
        peer.answer_twin(1).await;
        peer
    }
}

#[track_caller]
pub(super) fn assert_names(connect: &[u8], hub: &str) {
    let username = format!("{hub}/my-device/?api-version=2021-04-12");
    let named = connect
        .windows(username.len())
        .any(|part| part == username.as_bytes());
    assert!(named, "{hub}: {}", String::from_utf8_lossy(connect));
}

pub(super) const OLD: &str = "old.azure-devices.net";
/// The hub in [`ASSIGNED`].
pub(super) const NEW: &str = "hub.azure-devices.net";

#[tokio::test]
async fn a_device_with_a_stored_assignment_does_not_ask_dps() {
    let hubs = Hubs::new().await;
    // DPS is down.
    let dps = Script::forever(Step::Fail(ErrorKind::Connect));
    let mut device = hubs.device(&dps, Memory::with_hub(OLD));
    let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(OLD));
    twin.unwrap();
    assert_eq!(dps.asked(), [""; 0]);
    assert_eq!(device.handle.assignment().unwrap().hub().as_str(), OLD);
}

#[tokio::test]
async fn a_device_without_a_stored_assignment_registers_and_stores_it() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigning(), assigned()]);
    let memory = Memory::default();
    let device = hubs.provisioned(&dps, memory.clone());
    let mut device = connect(device.with_payload(json!({"a": 1})));
    let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(NEW));
    twin.unwrap();
    let register = r#"PUT {"registrationId":"my-device","payload":{"a":1}}"#;
    assert_eq!(dps.asked(), [register, POLL]);
    assert_eq!(memory.hub().as_deref(), Some(NEW));

    // After a restart.
    drop(device);
    let mut device = hubs.device(&dps, memory);
    let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(NEW));
    twin.unwrap();
    assert_eq!(dps.asked().len(), 2);
}

#[tokio::test]
async fn a_stored_assignment_that_is_damaged_or_of_another_device_is_ignored() {
    let hubs = Hubs::new().await;
    let garbage = Memory(Arc::new(Mutex::new(Some(b"{}".to_vec()))));
    for memory in [Memory::for_device("another", OLD), garbage] {
        let dps = Script::new([assigned()]);
        let mut device = hubs.device(&dps, memory.clone());
        let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(NEW));
        twin.unwrap();
        assert_eq!(dps.asked(), [REGISTER]);
        assert_eq!(memory.hub().as_deref(), Some(NEW));
    }
}

#[tokio::test]
async fn a_store_that_fails_leads_to_a_registration() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigned()]);
    let mut device = hubs.device(&dps, Broken);
    let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(NEW));
    twin.unwrap();
    assert_eq!(dps.asked(), [REGISTER]);
    let forgotten = device.handle.forget();
    assert!(device.events.drive(forgotten).await.is_err());
}

#[tokio::test]
async fn a_damaged_file_leads_to_a_registration() {
    let changed = r#"{"version":2,"idScope":"0ne00111111","registrationId":"my-device","assignedHub":"olf","deviceId":"my-device","checksum":"0123456789abcdef"}"#;
    for damaged in [r#"{"version":1,"idSco"#, changed] {
        let hubs = Hubs::new().await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("assignment.json");
        std::fs::write(&path, damaged).unwrap();
        let dps = Script::new([assigned()]);
        let mut device = hubs.device(&dps, AssignmentFile::new(&path));
        let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(NEW));
        twin.unwrap();
        let json = std::fs::read(&path).unwrap();
        assert_eq!(
            CachedAssignment::from_json(&json).unwrap().hub().as_str(),
            NEW
        );
    }
}

#[tokio::test]
async fn a_hub_that_refuses_the_device_leads_to_a_registration() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigned()]);
    let memory = Memory::with_hub(OLD);
    let options = following().without_messages().without_methods();
    let device = hubs.provisioned(&dps, memory.clone()).with_options(options);
    let (handle, events) = device.connect();
    let mut device = Device { handle, events };
    let script = async {
        hubs.refuse(OLD).await;
        let mut peer = hubs.accept(NEW).await;
        let request = peer.request(REPORT).await;
        peer.answer(&request, "204", "&$version=2", "").await;
        peer
    };
    let play = async {
        // The whole twin, because it is another hub.
        let update = device.update().await;
        assert!(matches!(update, Update::Twin(_)), "{update:?}");
        device.report(json!({"moved": true})).await.unwrap()
    };
    let (version, _peer) = tokio::join!(play, script);
    assert_eq!(version, 2);
    assert_eq!(dps.asked(), [REGISTER]);
    assert_eq!(memory.hub().as_deref(), Some(NEW));
}

#[tokio::test]
async fn answers_401_403_and_404_lead_to_a_registration() {
    for status in ["401", "403", "404"] {
        let hubs = Hubs::new().await;
        let dps = Script::new([assigned()]);
        let mut device = hubs.device(&dps, Memory::with_hub(OLD));
        let script = async {
            let mut old = HubPeer::accept(&hubs.server).await;
            let request = old.request(REPORT).await;
            old.answer(&request, status, "", "").await;
            let mut new = HubPeer::accept(&hubs.server).await;
            assert_names(&new.connect, NEW);
            let request = new.request(REPORT).await;
            new.answer(&request, "204", "&$version=2", "").await;
        };
        let patch = json!({"on": true});
        let (version, ()) = tokio::join!(device.report(&patch), script);
        assert_eq!(version.unwrap(), 2, "{status}");
        assert_eq!(dps.asked(), [REGISTER]);
    }
}

#[tokio::test]
async fn a_new_hub_that_refuses_the_device_does_not_cause_a_loop() {
    let hubs = Hubs::new().await;
    let dps = Script::forever(assigned());
    let mut device = hubs.device(&dps, Memory::with_hub(OLD));
    let script = async {
        hubs.refuse(OLD).await;
        hubs.refuse(NEW).await;
    };
    let (twin, ()) = tokio::join!(device.twin(), script);
    assert_eq!(twin.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(dps.asked(), [REGISTER]);
    // It registers again, after a wait.
    let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(NEW));
    twin.unwrap();
    assert_eq!(dps.asked(), [REGISTER, REGISTER]);
}

#[tokio::test]
async fn a_refusal_by_dps_is_returned_and_the_next_call_tries_again() {
    let hubs = Hubs::new().await;
    let dps = Script::new([answer(401, r#"{"errorCode":401002}"#)]);
    let mut device = hubs.device(&dps, Memory::with_hub(OLD));
    let (twin, ()) = tokio::join!(device.twin(), hubs.refuse(OLD));
    assert_eq!(twin.unwrap_err().kind(), ErrorKind::Unauthorized);
    let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(OLD));
    twin.unwrap();
}

#[tokio::test]
async fn reprovision_registers_again() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigned()]);
    let mut device = hubs.device(&dps, Memory::with_hub(OLD));
    let (twin, old) = tokio::join!(device.twin(), hubs.accept(OLD));
    twin.unwrap();
    let reprovision = device.handle.reprovision();
    device.events.drive(reprovision).await.unwrap();
    old.peer.closed().await;
    assert_eq!(device.handle.hub().unwrap().hostname().as_str(), NEW);
    let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(NEW));
    twin.unwrap();
}

/// The operator asks by a method, whose response is sent before.
#[tokio::test]
async fn reprovision_in_a_method_sends_the_response_first() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigned()]);
    let options = following().without_twin_events();
    let device = hubs.provisioned(&dps, Memory::with_hub(OLD));
    let (handle, mut events) = device.with_options(options).connect();
    let play = async {
        while let Some(event) = events.next().await {
            if let DeviceEvent::Method(method) = event {
                method.respond(202, json!({})).unwrap();
                events.drive(handle.reprovision()).await.unwrap();
            }
        }
    };
    let script = async {
        let mut peer = HubPeer::accept(&hubs.server).await;
        peer.method("reprovision", "1", "{}").await;
        let response = peer.response().await;
        assert_eq!(response.topic, "$iothub/methods/res/202/?$rid=");
        let peer = HubPeer::accept(&hubs.server).await;
        assert_names(&peer.connect, NEW);
    };
    tokio::select! {
        () = play => {}
        () = script => {}
    }
}

#[tokio::test]
async fn a_reprovision_that_fails_keeps_the_hub() {
    let hubs = Hubs::new().await;
    let dps = Script::new([answer(404, r#"{"errorCode":404201}"#)]);
    let mut device = hubs.device(&dps, Memory::with_hub(OLD));
    let (twin, _old) = tokio::join!(device.twin(), hubs.accept(OLD));
    twin.unwrap();
    let reprovision = device.handle.reprovision();
    let error = device.events.drive(reprovision).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(OLD));
    twin.unwrap();
}

#[tokio::test]
async fn forget_removes_the_stored_assignment_and_registers() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigned()]);
    let memory = Memory::with_hub(OLD);
    let mut device = hubs.device(&dps, memory.clone());
    let (twin, _old) = tokio::join!(device.twin(), hubs.accept(OLD));
    twin.unwrap();
    let forgotten = device.handle.forget();
    device.events.drive(forgotten).await.unwrap();
    assert_ne!(memory.hub().as_deref(), Some(OLD));
    let (twin, _peer) = tokio::join!(device.twin(), hubs.accept(NEW));
    twin.unwrap();
    assert_eq!(dps.asked(), [REGISTER]);
}

#[tokio::test(start_paused = true)]
async fn a_program_with_another_mqtt_client_can_forget_and_register() {
    let dps = Script::forever(assigned());
    let memory = Memory::with_hub(OLD);
    let mut device = ProvisionedDevice::new(dps.client(), memory.clone());
    assert_eq!(device.hub().await.unwrap().hostname().as_str(), OLD);
    assert_eq!(device.hub().await.unwrap().hostname().as_str(), OLD);
    device.forget().await.unwrap();
    assert_eq!((memory.hub(), device.assignment()), (None, None));
    assert_eq!(device.hub().await.unwrap().hostname().as_str(), NEW);
    assert_eq!(dps.asked(), [REGISTER]);
    device.reprovision().await.unwrap();
    assert_eq!(dps.asked(), [REGISTER, REGISTER]);
}

#[tokio::test(start_paused = true)]
async fn a_registration_continues_after_its_future_was_dropped() {
    let dps = Script::new([assigning(), assigning(), assigned()]);
    let mut device = ProvisionedDevice::new(dps.client(), Memory::default());
    let hub = loop {
        if let Ok(hub) = timeout(Duration::from_millis(100), device.hub()).await {
            break hub.unwrap();
        }
    };
    assert_eq!(hub.hostname().as_str(), NEW);
    assert_eq!(dps.asked(), [REGISTER, POLL, POLL]);
}

/// A device whose hubs refuse every TCP connection, and whose requests wait for two hours.
async fn with_unreachable_hubs(client: ProvisioningClient, memory: &Memory) -> Device {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let pki = Pki::new();
    let options = quick()
        .with_recovery(Recovery::new())
        .with_request_timeout(Duration::from_secs(2 * 3600));
    let device = ProvisionedDevice::new(client, memory.clone()).with_options(options);
    let (handle, events) = device
        .with_hub(move |hub| {
            at_server(hub, MqttKind::Mqtt, &pki, port).with_host(std::net::Ipv4Addr::LOCALHOST)
        })
        .connect();
    Device { handle, events }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_hub_is_retried_for_at_least_15_minutes() {
    let dps = Script::forever(assigned());
    let memory = Memory::with_hub(OLD);
    let mut device = with_unreachable_hubs(dps.client(), &memory).await;
    let start = Instant::now();
    let early = timeout(Duration::from_secs(14 * 60), device.run()).await;
    assert!(early.is_err());
    assert_eq!(dps.asked(), [""; 0]);

    loop {
        if let DeviceEvent::Assigned(_) = device.events.next().await.unwrap() {
            break;
        }
    }
    assert_eq!(dps.asked(), [REGISTER]);
    assert_eq!(memory.hub().as_deref(), Some(NEW));
    assert_wait(start.elapsed(), 15 * 60, 31 * 60 + 20);
}

/// It is logged and retried, and no request fails before its timeout.
#[tokio::test(start_paused = true)]
async fn the_device_stays_with_its_hub_while_dps_is_also_unreachable() {
    let dps = Script::forever(Step::Fail(ErrorKind::Connect));
    let memory = Memory::with_hub(OLD);
    let mut device = with_unreachable_hubs(dps.client(), &memory).await;
    let error = device.twin().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(error.is_retryable());
    assert!(!dps.asked().is_empty());
    assert_eq!(device.handle.assignment().unwrap().hub().as_str(), OLD);
    assert_eq!(memory.hub().as_deref(), Some(OLD));
}

/// A DPS whose lookup returns this hub.
#[derive(Debug, Clone)]
struct WithLookup(&'static str, Script);

#[async_trait]
impl Transport for WithLookup {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        let session = self.1.open(target, proof).await?;
        Ok(Box::new(LookupSession(self.0, session)))
    }
}

struct LookupSession<'a>(&'static str, Box<dyn Session + 'a>);

#[async_trait]
impl Session for LookupSession<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.1.register(body).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        self.1.status(operation).await
    }

    async fn lookup(&mut self, _: &RegistrationRequest) -> Result<Reply, TransportError> {
        let known = json!({"status": "assigned", "assignedHub": self.0, "deviceId": "my-device"});
        Ok(Reply::new(200, known.to_string()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_after_an_outage_can_replace_the_registration() {
    for (known, asked) in [(NEW, vec![]), (OLD, vec![REGISTER])] {
        let dps = Script::forever(assigned());
        let key = crate::mqtt::key("my-device");
        let scope = "0ne00111111".parse().unwrap();
        let client = ProvisioningClient::new(scope, key, WithLookup(known, dps.clone()));
        let memory = Memory::with_hub(OLD);
        let mut device = with_unreachable_hubs(client, &memory).await;
        loop {
            if let DeviceEvent::Assigned(_) = device.events.next().await.unwrap() {
                break;
            }
        }
        assert_eq!(dps.asked(), asked, "DPS knows {known}");
        assert_eq!(memory.hub().as_deref(), Some(NEW));
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_between_registrations_grows_while_none_succeeds() {
    let dps = Script::forever(answer(404, r#"{"errorCode":404201}"#));
    let mut device = ProvisionedDevice::new(dps.client(), Memory::default());
    for _ in 0..8 {
        let error = device.hub().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let gaps = dps.gaps();
    for gap in &gaps {
        assert_wait(*gap, 2, 62);
    }
    let all: Duration = gaps.iter().sum();
    assert!(all > Duration::from_secs(14), "{gaps:?}");
}

#[test]
fn the_hub_of_the_script_is_the_new_one() {
    assert!(ASSIGNED.contains(NEW));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_delays_the_device_and_does_not_stop_it() {
    let dps = Script::new([assigned()]);
    let mut device = ProvisionedDevice::new(dps.client(), Stuck);
    assert_eq!(device.hub().await.unwrap().hostname().as_str(), NEW);
    let error = device.forget().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[tokio::test(start_paused = true)]
async fn a_store_may_be_boxed_or_shared() {
    let boxed: Box<dyn AssignmentStore> = Box::new(Memory::with_hub(OLD));
    let shared: Arc<dyn AssignmentStore> = Arc::new(Memory::with_hub(OLD));
    for mut device in [
        ProvisionedDevice::new(Script::new([]).client(), boxed),
        ProvisionedDevice::new(Script::new([]).client(), shared),
    ] {
        assert_eq!(device.hub().await.unwrap().hostname().as_str(), OLD);
    }
}

#[tokio::test(start_paused = true)]
async fn the_payload_of_the_webhook_is_kept_over_a_restart() {
    let with_payload = ASSIGNED.replace(
        r#""substatus":"#,
        r#""payload":{"interval":5},"substatus":"#,
    );
    assert_ne!(with_payload, ASSIGNED);
    let dps = Script::new([answer(200, &with_payload)]);
    let memory = Memory::default();
    for _ in 0..2 {
        let mut device = ProvisionedDevice::new(dps.client(), memory.clone());
        device.hub().await.unwrap();
        let assignment = device.assignment().unwrap();
        assert_eq!(assignment.payload_json(), Some(&json!({"interval": 5})));
    }
    assert_eq!(
        dps.asked(),
        [REGISTER],
        "the second device was not registered"
    );
}

#[tokio::test]
async fn events_and_state_follow_the_device() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigned()]);
    let mut device = hubs.device(&dps, Memory::with_hub(OLD));
    assert_eq!(device.handle.state(), DeviceState::Disconnected);
    let script = async {
        hubs.refuse(OLD).await;
        hubs.accept(NEW).await
    };
    let (twin, _peer) = tokio::join!(device.twin(), script);
    twin.unwrap();
    assert_eq!(device.handle.state(), DeviceState::Connected);
    device
        .events
        .drive(device.handle.close(Duration::ZERO))
        .await;
    assert_eq!(device.handle.state(), DeviceState::Disconnected);

    let mut seen = Vec::new();
    while let Some(event) = device.events.next().await {
        seen.push(match event {
            DeviceEvent::Registering => "registering".to_owned(),
            DeviceEvent::Assigned(assignment) => format!("assigned {}", assignment.hub()),
            DeviceEvent::Connecting(hub) => format!("connecting {hub}"),
            DeviceEvent::Connected(hub) => format!("connected {hub}"),
            DeviceEvent::Failed { error, .. } => format!("failed {:?}", error.kind()),
            other => format!("{other:?}"),
        });
    }
    let expected = [
        format!("connecting {OLD}"),
        "failed Unauthorized".to_owned(),
        "registering".to_owned(),
        format!("assigned {NEW}"),
        format!("connecting {NEW}"),
        format!("connected {NEW}"),
    ];
    assert_eq!(seen, expected);
}
