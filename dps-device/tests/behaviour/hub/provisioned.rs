//! A device for years: what it remembers, when it asks DPS, and when it does not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::attestation::Proof;
use dps_device::transport::{Reply, Session, Target, TransportError};
use dps_device::{
    AssignmentFile, AssignmentStore, CachedAssignment, ErrorKind, ProvisionedDevice,
    ProvisioningClient, Transport, TwinUpdate,
};
use dps_types::{OperationId, RegistrationRequest};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::memory::{Broken, Memory};
use super::peer::{HubPeer, REPORT};
use super::{connecting_to, over};
use crate::mqtt::MqttKind;
use crate::mqtt::server::Server;
use crate::pki::Pki;
use crate::script::{
    ASSIGNED, POLL, REGISTER, Script, Step, answer, assert_wait, assigned, assigning,
};

struct World {
    pki: Pki,
    server: Server,
}

impl World {
    async fn new() -> Self {
        let pki = Pki::new();
        let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
        Self { pki, server }
    }

    /// A device whose DPS plays this, and whose hubs are all at the server.
    fn device(&self, dps: &Script, store: impl AssignmentStore + 'static) -> ProvisionedDevice {
        let client = dps.client().with_min_poll_interval(Duration::ZERO);
        let (roots, port) = (self.pki.roots(), self.server.port());
        ProvisionedDevice::new(client, store).with_hub(move |hub| {
            hub.with_host(dps_device::Host::LOCALHOST)
                .with_roots(roots.clone())
                .with_transport(over(MqttKind::Mqtt, port))
        })
    }

    /// Refuses the next device, which comes to this hub.
    async fn refuse(&self, hub: &str) {
        let mut peer = self.server.accept().await;
        assert_names(&peer.packet().await, hub);
        peer.send(b"\x20\x02\x00\x05").await;
        peer.closed().await;
    }

    /// Lets the next device in, which comes to this hub, and gives it its twin.
    async fn take(&self, hub: &str) -> HubPeer {
        let mut peer = HubPeer::accept(&self.server).await;
        assert_names(&peer.connect, hub);
        peer.give_twin(1).await;
        peer
    }
}

#[track_caller]
fn assert_names(connect: &[u8], hub: &str) {
    let username = format!("{hub}/my-device/?api-version=2021-04-12");
    let named = connect
        .windows(username.len())
        .any(|part| part == username.as_bytes());
    assert!(named, "{hub}: {}", String::from_utf8_lossy(connect));
}

const OLD: &str = "old.azure-devices.net";
/// That of [`ASSIGNED`].
const NEW: &str = "hub.azure-devices.net";

#[tokio::test]
async fn a_device_that_remembers_its_hub_does_not_ask_dps() {
    let world = World::new().await;
    // DPS is down: it would answer nothing.
    let dps = Script::forever(Step::Fail(ErrorKind::Connect));
    let mut device = world.device(&dps, Memory::of(OLD));
    let (twin, _peer) = tokio::join!(device.twin(), world.take(OLD));
    twin.unwrap();
    assert_eq!(dps.asked(), [""; 0]);
    assert_eq!(device.assignment().unwrap().hub().as_str(), OLD);
}

#[tokio::test]
async fn a_device_that_remembers_nothing_registers_and_remembers() {
    let world = World::new().await;
    let dps = Script::new([assigning(), assigned()]);
    let memory = Memory::default();
    let mut device = world
        .device(&dps, memory.clone())
        .with_payload(json!({"a": 1}));
    let (twin, _peer) = tokio::join!(device.twin(), world.take(NEW));
    twin.unwrap();
    let register = r#"PUT {"registrationId":"my-device","payload":{"a":1}}"#;
    assert_eq!(dps.asked(), [register, POLL]);
    assert_eq!(memory.hub().as_deref(), Some(NEW));

    // After a restart.
    drop(device);
    let mut device = world.device(&dps, memory);
    let (twin, _peer) = tokio::join!(device.twin(), world.take(NEW));
    twin.unwrap();
    assert_eq!(dps.asked().len(), 2);
}

#[tokio::test]
async fn what_is_remembered_of_another_device_or_cannot_be_read_counts_as_nothing() {
    let world = World::new().await;
    let garbage = Memory(Arc::new(Mutex::new(Some(b"{}".to_vec()))));
    for memory in [Memory::for_device("another", OLD), garbage] {
        let dps = Script::new([assigned()]);
        let mut device = world.device(&dps, memory.clone());
        let (twin, _peer) = tokio::join!(device.twin(), world.take(NEW));
        twin.unwrap();
        assert_eq!(dps.asked(), [REGISTER]);
        assert_eq!(memory.hub().as_deref(), Some(NEW));
    }
}

#[tokio::test]
async fn a_store_that_fails_costs_a_registration_and_nothing_else() {
    let world = World::new().await;
    let dps = Script::new([assigned()]);
    let mut device = world.device(&dps, Broken);
    let (twin, _peer) = tokio::join!(device.twin(), world.take(NEW));
    twin.unwrap();
    assert_eq!(dps.asked(), [REGISTER]);
    assert!(device.forget().await.is_err());
}

#[tokio::test]
async fn a_file_that_was_spoilt_costs_a_registration() {
    let world = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("assignment.json");
    std::fs::write(&path, b"{\"version\":1,\"idSco").unwrap();
    let dps = Script::new([assigned()]);
    let mut device = world.device(&dps, AssignmentFile::new(&path));
    let (twin, _peer) = tokio::join!(device.twin(), world.take(NEW));
    twin.unwrap();
    let json = std::fs::read(&path).unwrap();
    assert_eq!(
        CachedAssignment::from_json(&json).unwrap().hub().as_str(),
        NEW
    );
}

#[tokio::test]
async fn a_hub_that_refuses_the_device_leads_to_a_registration() {
    let world = World::new().await;
    let dps = Script::new([assigned()]);
    let memory = Memory::of(OLD);
    let mut device = world.device(&dps, memory.clone());
    let script = async {
        world.refuse(OLD).await;
        let mut peer = world.take(NEW).await;
        let request = peer.request(REPORT).await;
        peer.answer(&request, "204", "&$version=2", "").await;
        peer
    };
    let play = async {
        // The whole twin: it is another hub.
        let update = device.next().await.unwrap();
        assert!(matches!(update, TwinUpdate::Twin(_)), "{update:?}");
        device.report(json!({"moved": true})).await.unwrap()
    };
    let (version, _peer) = tokio::join!(play, script);
    assert_eq!(version, 2);
    assert_eq!(dps.asked(), [REGISTER]);
    assert_eq!(memory.hub().as_deref(), Some(NEW));
}

#[tokio::test]
async fn so_do_401_403_and_404_about_the_twin() {
    for status in ["401", "403", "404"] {
        let world = World::new().await;
        let dps = Script::new([assigned()]);
        let mut device = world.device(&dps, Memory::of(OLD));
        let script = async {
            let mut old = HubPeer::accept(&world.server).await;
            let request = old.request(REPORT).await;
            old.answer(&request, status, "", "").await;
            let mut new = HubPeer::accept(&world.server).await;
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
async fn a_new_hub_that_refuses_the_device_is_no_loop() {
    let world = World::new().await;
    let dps = Script::forever(assigned());
    let mut device = world.device(&dps, Memory::of(OLD));
    let script = async {
        world.refuse(OLD).await;
        world.refuse(NEW).await;
    };
    let (twin, ()) = tokio::join!(device.twin(), script);
    assert_eq!(twin.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(dps.asked(), [REGISTER]);
    // Whoever insists has DPS asked again.
    let script = async {
        world.refuse(NEW).await;
        world.take(NEW).await
    };
    let (twin, _peer) = tokio::join!(device.twin(), script);
    twin.unwrap();
    assert_eq!(dps.asked(), [REGISTER, REGISTER]);
}

#[tokio::test]
async fn when_dps_refuses_too_the_device_hears_it_and_goes_on_later() {
    let world = World::new().await;
    let dps = Script::new([answer(401, r#"{"errorCode":401002}"#)]);
    let mut device = world.device(&dps, Memory::of(OLD));
    let (twin, ()) = tokio::join!(device.twin(), world.refuse(OLD));
    assert_eq!(twin.unwrap_err().kind(), ErrorKind::Unauthorized);
    let (twin, _peer) = tokio::join!(device.twin(), world.take(OLD));
    twin.unwrap();
}

#[tokio::test]
async fn an_operator_can_have_it_registered_again() {
    let world = World::new().await;
    let dps = Script::new([assigned()]);
    let mut device = world.device(&dps, Memory::of(OLD));
    let (twin, old) = tokio::join!(device.twin(), world.take(OLD));
    twin.unwrap();
    device.reprovision().await.unwrap();
    old.peer.closed().await;
    assert_eq!(device.hub().await.unwrap().hostname().as_str(), NEW);
    let (twin, _peer) = tokio::join!(device.twin(), world.take(NEW));
    twin.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_forgotten() {
    let dps = Script::new([assigned()]);
    let memory = Memory::of(OLD);
    let mut device = ProvisionedDevice::new(dps.client(), memory.clone());
    assert_eq!(device.hub().await.unwrap().hostname().as_str(), OLD);
    device.forget().await.unwrap();
    assert_eq!((memory.hub(), device.assignment()), (None, None));
    assert_eq!(device.hub().await.unwrap().hostname().as_str(), NEW);
    assert_eq!(dps.asked(), [REGISTER]);
}

#[tokio::test(start_paused = true)]
async fn giving_up_again_and_again_is_one_registration() {
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

/// A device whose hubs are nowhere.
async fn lost(client: ProvisioningClient, memory: &Memory) -> ProvisionedDevice {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let pki = Pki::new();
    ProvisionedDevice::new(client, memory.clone()).with_hub(move |hub| {
        connecting_to(hub, MqttKind::Mqtt, &pki, port).with_host(std::net::Ipv4Addr::LOCALHOST)
    })
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_out_of_reach_is_stayed_with_for_a_quarter_of_an_hour_at_least() {
    let dps = Script::forever(assigned());
    let memory = Memory::of(OLD);
    let mut device = lost(dps.client(), &memory).await;
    let start = Instant::now();
    let error = timeout(Duration::from_secs(14 * 60), device.twin()).await;
    assert!(error.is_err(), "it still tries");
    assert_eq!(dps.asked(), [""; 0]);

    // At the new hub it stays just as long, and tells that this one does not work either.
    let error = device.twin().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(dps.asked(), [REGISTER]);
    assert_eq!(memory.hub().as_deref(), Some(NEW));
    assert_wait(start.elapsed(), 2 * 15 * 60 - 130, 2 * 30 * 60);
}

#[tokio::test(start_paused = true)]
async fn while_dps_is_out_of_reach_too_it_stays() {
    let dps = Script::forever(Step::Fail(ErrorKind::Connect));
    let memory = Memory::of(OLD);
    let mut device = lost(dps.client(), &memory).await;
    let error = device.twin().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(error.is_retryable());
    assert!(!dps.asked().is_empty());
    assert_eq!(device.assignment().unwrap().hub().as_str(), OLD);
    assert_eq!(memory.hub().as_deref(), Some(OLD));
}

/// DPS, as far as a lookup goes: it knows of this hub.
#[derive(Debug, Clone)]
struct Knows(&'static str, Script);

#[async_trait]
impl Transport for Knows {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        let session = self.1.open(target, proof).await?;
        Ok(Box::new(Knowing(self.0, session)))
    }
}

struct Knowing<'a>(&'static str, Box<dyn Session + 'a>);

#[async_trait]
impl Session for Knowing<'_> {
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
async fn after_an_outage_a_lookup_may_spare_a_registration() {
    for (known, asked) in [(NEW, vec![]), (OLD, vec![REGISTER])] {
        let dps = Script::forever(assigned());
        let key = crate::mqtt::key("my-device");
        let scope = "0ne00111111".parse().unwrap();
        let client = ProvisioningClient::new(scope, key, Knows(known, dps.clone()));
        let memory = Memory::of(OLD);
        let mut device = lost(client, &memory).await;
        let error = device.twin().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert_eq!(dps.asked(), asked, "DPS knows {known}");
        assert_eq!(memory.hub().as_deref(), Some(NEW));
    }
}

#[tokio::test(start_paused = true)]
async fn registrations_are_further_and_further_apart_while_no_hub_takes_the_device() {
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
