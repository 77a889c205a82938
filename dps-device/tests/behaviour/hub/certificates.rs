//! Issued certificates at the hub: the device connects with one, renews it, and recovers when the hub refuses it.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dps_device::certificate::{
    CertificateEvent, CertificateOptions, CredentialFile, CredentialStore, MemoryKeySource,
    RenewalPlace,
};
use dps_device::{AssignmentFile, Clock, DeviceEvent, ProvisionedDevice};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::time_provider::TimeProvider;

use super::device::{Device, quick};
use super::peer::{HubPeer, REPORT, Request};
use super::transport;
use crate::certificate::Service;
use crate::mqtt::server::{Server, in_time};
use crate::mqtt::{ManualClock, MqttKind};

const ISSUE: &str = "$iothub/credentials/POST/issueCertificate/?$rid=";
const DAY: u64 = 86400;

/// DPS, a hub that accepts only devices with certificates, and the disk of a device.
pub(super) struct World {
    pub(super) dps: Service,
    pub(super) hub: Server,
    disk: tempfile::TempDir,
    clock: ManualClock,
    start: u64,
}

impl World {
    pub(super) async fn new() -> Self {
        let dps = Service::new();
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let clock = ManualClock::to(start);
        let mut config = dps.pki().server(true).as_ref().clone();
        config.time_provider = Arc::new(HubTime(clock.clone()));
        let hub = Server::start(MqttKind::Mqtt, Arc::new(config)).await;
        Self {
            dps,
            hub,
            disk: tempfile::tempdir().unwrap(),
            clock,
            start,
        }
    }

    /// The device boots.
    fn device(&self, place: RenewalPlace) -> Device {
        let options = CertificateOptions::new(self.store(), MemoryKeySource::default());
        self.boot(options.with_renewal_at(place))
    }

    /// The device boots with this store and these keys.
    pub(super) fn boot(&self, options: CertificateOptions) -> Device {
        let client = self.dps.client().with_clock(self.clock.clone());
        let client = client.with_min_poll_interval(Duration::ZERO);
        let options = options
            .with_check_interval(Duration::from_millis(10))
            .with_report();
        let (roots, port) = (self.dps.pki().roots(), self.hub.port());
        let (handle, events) = ProvisionedDevice::new(client, self.assignment())
            .with_hub(move |hub| {
                hub.with_host(dps_device::Host::LOCALHOST)
                    .with_roots(roots.clone())
                    .with_transport(transport(MqttKind::Mqtt, port))
            })
            .with_certificates(options)
            .with_options(quick())
            .connect();
        Device { handle, events }
    }

    /// Days pass, and certificates are issued from then on.
    pub(super) fn pass(&self, days: u64) {
        let now = self.start + days * DAY;
        self.clock.set(now);
        self.dps.issue_from(UNIX_EPOCH + Duration::from_secs(now));
    }

    pub(super) fn store(&self) -> CredentialFile {
        CredentialFile::new(self.path("credential.json"))
    }

    fn assignment(&self) -> AssignmentFile {
        AssignmentFile::new(self.path("assignment.json"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    /// Accepts a device with a certificate, and its report.
    pub(super) async fn accept(&self) -> (HubPeer, Value) {
        let mut peer = HubPeer::accept(&self.hub).await;
        // Flags: a user name, no password, a clean session.
        assert_eq!(peer.connect[9], 0b1000_0010, "{:x?}", peer.connect);
        let report = peer.request(REPORT).await;
        peer.answer(&report, "204", "&$version=2", "").await;
        (peer, serde_json::from_str(&report.body).unwrap())
    }

    /// The stored certificates: the last bytes of the current and the next one.
    pub(super) async fn stored(&self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let stored = self.store().load().await.unwrap();
        let leaf = |credential: Option<dps_device::certificate::Credential>| {
            credential.map(|credential| credential.chain().next().unwrap().to_vec())
        };
        (leaf(stored.current), leaf(stored.next))
    }

    pub(super) async fn issue(&self, peer: &mut HubPeer, request: &Request) {
        let csr: Value = serde_json::from_str(&request.body).unwrap();
        let chain = self.dps.issue(csr["csr"].as_str().unwrap());
        let accepted = r#"{"correlationId":"c","operationExpires":"2030-01-01T00:00:00Z"}"#;
        answer(peer, request, 202, accepted).await;
        let issued = json!({"correlationId": "c", "certificates": chain}).to_string();
        answer(peer, request, 200, &issued).await;
    }
}

/// The hub has the clock of the device.
#[derive(Debug)]
struct HubTime(ManualClock);

impl TimeProvider for HubTime {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.0.now().duration_since(UNIX_EPOCH);
        now.ok().map(UnixTime::since_unix_epoch)
    }
}

async fn answer(peer: &mut HubPeer, to: &Request, status: u16, body: &str) {
    let topic = format!("$iothub/credentials/res/{status}/?$rid={}", to.rid);
    peer.publish(&topic, b"", body).await;
}

pub(super) async fn request(peer: &mut HubPeer) -> Request {
    let request = peer.request(ISSUE).await;
    peer.acknowledge(&request).await;
    request
}

/// Drives the device while the test acts as its hub.
pub(super) fn play<'a, T: 'a>(
    device: &'a mut Device,
    hub: impl Future<Output = T> + 'a,
) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    let hub = Box::pin(hub);
    Box::pin(in_time(device.events.drive(hub)))
}

#[tokio::test]
async fn a_device_connects_with_its_certificate_and_renews_it_at_the_hub() {
    let world = World::new().await;
    let mut device = world.device(RenewalPlace::Hub);
    let (mut peer, report) = play(&mut device, world.accept()).await;
    let (first, next) = world.stored().await;
    assert!(first.is_some() && next.is_none());
    let until = report["certificate"]["validUntil"].as_str().unwrap();
    let until: dps_types::Timestamp = until.parse().unwrap();
    let expected = i64::try_from(world.start + 30 * DAY).unwrap();
    assert!((until.unix_seconds() - expected).abs() <= 1);

    world.pass(26);
    let request = play(&mut device, request(&mut peer)).await;
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["id"], "my-device");
    assert_eq!(body.as_object().unwrap().len(), 2);
    let (mut peer, _) = play(&mut device, async {
        world.issue(&mut peer, &request).await;
        world.accept().await
    })
    .await;
    let (second, next) = world.stored().await;
    assert!(second != first && next.is_none());
    assert_eq!(world.dps.seen().len(), 1, "one registration");
    // The connection works.
    let twin = async {
        peer.answer_twin(1).await;
    };
    let handle = device.handle.clone();
    let (twin, ()) = play(&mut device, async { tokio::join!(handle.twin(), twin) }).await;
    twin.unwrap();

    let mut events = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, device.events.next()).await {
        if let DeviceEvent::Certificate(event) = event {
            events.push(event);
        }
    }
    assert!(
        matches!(
            events[..],
            [
                CertificateEvent::Issued(_),
                CertificateEvent::InUse { .. },
                CertificateEvent::Renewing(RenewalPlace::Hub),
                CertificateEvent::Issued(_),
                CertificateEvent::InUse { .. },
            ]
        ),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_restarted_device_uses_its_certificate_without_dps() {
    let world = World::new().await;
    let mut device = world.device(RenewalPlace::Hub);
    play(&mut device, world.accept()).await;
    drop(device);
    let mut device = world.device(RenewalPlace::Hub);
    // Nothing is new, so nothing is reported.
    play(&mut device, HubPeer::accept(&world.hub)).await;
    assert_eq!(world.dps.seen().len(), 1);
}

#[tokio::test]
async fn each_refusal_of_the_hub_is_followed_by_its_rule() {
    let world = World::new().await;
    let mut device = world.device(RenewalPlace::Hub);
    let (mut peer, _) = play(&mut device, world.accept()).await;
    world.pass(26);
    for (code, info, replace) in [
        (429_002_u32, "{}", None),
        (409_005, r#"{"requestId":"a1b2-c3"}"#, Some("a1b2-c3")),
        (409_004, "{}", Some("*")),
        (412_001, "{}", None),
    ] {
        let next = play(&mut device, async {
            let first = request(&mut peer).await;
            let body = format!(r#"{{"errorCode":{code},"message":"No.","info":{info}}}"#);
            let status = u16::try_from(code / 1000).unwrap();
            answer(&mut peer, &first, status, &body).await;
            let again = request(&mut peer).await;
            // The next round refuses this one.
            let throttled = r#"{"errorCode":429003,"message":"No."}"#;
            answer(&mut peer, &again, 429, throttled).await;
            again
        })
        .await;
        let body: Value = serde_json::from_str(&next.body).unwrap();
        assert_eq!(body["replace"].as_str(), replace, "{code}");
        // Start over with the first wait.
        drop(device);
        device = world.device(RenewalPlace::Hub);
        peer = play(&mut device, HubPeer::accept(&world.hub)).await;
    }
    let bad = r#"{"errorCode":400040,"info":{"credentialError":"FailedToDecodeCsr"}}"#;
    play(&mut device, async {
        let request = request(&mut peer).await;
        answer(&mut peer, &request, 400, bad).await;
        world.accept().await;
    })
    .await;
    assert_eq!(
        world.dps.seen().len(),
        2,
        "the second registration renewed the certificate"
    );
}

#[tokio::test]
async fn a_certificate_is_renewed_at_dps_if_that_is_chosen() {
    let world = World::new().await;
    let mut device = world.device(RenewalPlace::Dps);
    play(&mut device, world.accept()).await;
    let (first, _) = world.stored().await;
    world.pass(26);
    play(&mut device, world.accept()).await;
    let (second, next) = world.stored().await;
    assert!(second != first && next.is_none());
    let bodies = world.dps.seen();
    assert_eq!(bodies.len(), 2);
    assert_ne!(bodies[0].1["csr"], bodies[1].1["csr"]);
}

#[tokio::test]
async fn a_revoked_certificate_is_replaced_at_dps() {
    let world = World::new().await;
    let mut device = world.device(RenewalPlace::Hub);
    let (peer, _) = play(&mut device, world.accept()).await;
    drop(peer);
    let (first, _) = world.stored().await;
    play(&mut device, async {
        let mut refused = world.hub.accept().await;
        refused.packet().await;
        refused.send(b"\x20\x02\x00\x05").await;
        drop(refused);
        world.accept().await
    })
    .await;
    let (second, next) = world.stored().await;
    assert!(second != first && next.is_none());
    assert_eq!(world.dps.seen().len(), 2);
}

#[tokio::test]
async fn an_expired_certificate_is_replaced_at_dps_before_the_device_connects() {
    let world = World::new().await;
    let mut device = world.device(RenewalPlace::Hub);
    play(&mut device, world.accept()).await;
    drop(device);
    world.pass(31);
    let mut device = world.device(RenewalPlace::Hub);
    play(&mut device, world.accept()).await;
    assert_eq!(world.dps.seen().len(), 2);
}

#[tokio::test]
async fn the_old_certificate_is_used_until_the_hub_accepts_the_new_one() {
    let world = World::new().await;
    let mut device = world.device(RenewalPlace::Hub);
    let (mut peer, _) = play(&mut device, world.accept()).await;
    let (first, _) = world.stored().await;
    world.pass(26);
    play(&mut device, async {
        let request = request(&mut peer).await;
        world.issue(&mut peer, &request).await;
        // The hub does not have the new certificate yet.
        let mut refused = world.hub.accept().await;
        refused.packet().await;
        refused.send(b"\x20\x02\x00\x05").await;
        drop(refused);
        HubPeer::accept(&world.hub).await
    })
    .await;
    let (current, next) = world.stored().await;
    assert_eq!(current, first);
    assert!(next.is_some());

    // After a restart the hub has it.
    drop(device);
    let mut device = world.device(RenewalPlace::Hub);
    play(&mut device, world.accept()).await;
    assert_eq!(world.stored().await, (next, None));
    assert_eq!(world.dps.seen().len(), 1);
}
