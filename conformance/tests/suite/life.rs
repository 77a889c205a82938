//! The life of a device with issued certificates in accelerated time: 90 days with renewals, a power failure during one of them, and
//! a revocation.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use dps_device::certificate::{
    CertificateEvent, CertificateOptions, CredentialFile, CredentialStore, MemoryKeySource,
};
use dps_device::{
    AssignmentFile, DeviceEvent, DeviceEvents, DeviceHandle, Http, Mqtt, ProvisionedDevice,
    ProvisioningClient, Roots, SymmetricKeyAttestation,
};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::enrollment::IndividualEnrollment;
use dps_types::{Clock, SymmetricKey, SystemClock};

use crate::dps::{AUTHORITY, HUB};
use crate::proof::{DEVICE, Enrollment};

/// The clock of the device and of the services.
#[derive(Debug, Clone, Default)]
struct Days(Arc<AtomicU64>);

impl Days {
    fn pass(&self, days: u64) {
        self.0.fetch_add(days, Ordering::Relaxed);
    }

    fn passed(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock for Days {
    fn now(&self) -> SystemTime {
        SystemClock.now() + Duration::from_secs(self.passed() * 86400)
    }
}

struct World {
    dps: Emulator,
    key: SymmetricKey,
    days: Days,
    disk: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let days = Days::default();
        let dps = Emulator::builder()
            .link_hub(HUB.parse::<LinkedHub>().expect("a hub"))
            .certificate_authority(AUTHORITY.parse().expect("an authority"))
            .clock(Arc::new(days.clone()))
            .retry_after(Duration::ZERO)
            .start()
            .await
            .expect("the emulator starts");
        let key = SymmetricKey::generate();
        let id = DEVICE.parse().expect("an id");
        let service = ServiceClient::from_connection_string(&dps.service_connection_string())
            .expect("a connection string")
            .with_clock(days.clone())
            .with_roots(Roots::from_pem(dps.ca_pem()).expect("the root"));
        let enrollment = IndividualEnrollment::from_keys(id, &key, &SymmetricKey::generate());
        Enrollment::from(enrollment)
            .issuing()
            .create(&service)
            .await;
        Self {
            dps,
            key,
            days,
            disk: tempfile::tempdir().expect("a directory"),
        }
    }

    /// The device boots.
    fn boot(&self) -> (DeviceHandle, DeviceEvents) {
        let who = SymmetricKeyAttestation::new(DEVICE.parse().expect("an id"), self.key.clone());
        let https = Http::default().with_port(self.dps.https_port());
        let client = ProvisioningClient::new(self.dps.id_scope().clone(), who, https)
            .with_host(Ipv4Addr::LOCALHOST)
            .with_roots(Roots::from_pem(self.dps.ca_pem()).expect("the root"))
            .with_clock(self.days.clone())
            .with_min_poll_interval(Duration::from_millis(10));
        let mqtt = Mqtt::default().with_port(self.dps.mqtt_port());
        let options = CertificateOptions::new(self.store(), MemoryKeySource::default())
            .with_check_interval(Duration::from_millis(10))
            .with_report();
        let assignment = AssignmentFile::new(self.disk.path().join("assignment.json"));
        ProvisionedDevice::new(client, assignment)
            .with_hub(move |hub| hub.with_host(Ipv4Addr::LOCALHOST).with_transport(mqtt))
            .with_certificates(options)
            .connect()
    }

    fn store(&self) -> CredentialFile {
        CredentialFile::new(self.disk.path().join("credential.json"))
    }

    /// The number of certificates in the store: the one in use, and one that has not connected.
    async fn stored(&self) -> (usize, usize) {
        let stored = self.store().load().await.expect("the store is readable");
        (stored.current.iter().count(), stored.next.iter().count())
    }
}

async fn until(events: &mut DeviceEvents, is_it: impl Fn(&CertificateEvent) -> bool) {
    let wait = async {
        loop {
            match events.next().await.expect("an event") {
                DeviceEvent::Certificate(event) if is_it(&event) => return,
                _ => {}
            }
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, Box::pin(wait))
        .await
        .expect("it happens in time");
}

async fn in_use(events: &mut DeviceEvents) {
    until(events, |event| {
        matches!(event, CertificateEvent::InUse { .. })
    })
    .await;
}

async fn issued(events: &mut DeviceEvents) {
    until(events, |event| matches!(event, CertificateEvent::Issued(_))).await;
}

/// The end of the validity that the device has reported.
async fn reported(device: &mut (DeviceHandle, DeviceEvents)) -> String {
    let (handle, events) = device;
    loop {
        let twin = Box::pin(events.drive(handle.twin())).await.expect("a twin");
        if let Some(certificate) = twin.reported.get("certificate") {
            return certificate["validUntil"]
                .as_str()
                .expect("a time")
                .to_owned();
        }
    }
}

#[tokio::test]
async fn a_device_runs_for_90_days_with_issued_certificates() {
    let world = World::new().await;
    let mut device = world.boot();
    in_use(&mut device.1).await;
    assert_eq!(world.stored().await, (1, 0));
    let first = reported(&mut device).await;

    // Day 26: a renewal at the hub.
    world.days.pass(26);
    in_use(&mut device.1).await;
    assert_eq!(world.stored().await, (1, 0));
    assert!(reported(&mut device).await > first);

    // Day 52: the power fails when the new certificate is stored and has not connected.
    world.days.pass(26);
    issued(&mut device.1).await;
    drop(device);
    assert_eq!(world.stored().await, (1, 1));
    let mut device = world.boot();
    in_use(&mut device.1).await;
    assert_eq!(world.stored().await, (1, 0));

    // Day 62: the operator revokes the certificates.
    world.days.pass(10);
    world
        .dps
        .issuance()
        .revoke(DEVICE)
        .await
        .expect("it is revoked");
    issued(&mut device.1).await;
    in_use(&mut device.1).await;

    // Day 90: another renewal.
    world.days.pass(28);
    in_use(&mut device.1).await;
    assert_eq!(world.days.passed(), 90);
    assert_eq!(world.stored().await, (1, 0));
    reported(&mut device).await;
    drop(device);
    world.dps.shutdown().await;
}
