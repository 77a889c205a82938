//! Issued certificates: over every transport, with every proof, and at the hub over both of its transports.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::certificate::{
    CertificateEvent, CertificateFault, CertificateOptions, CertificateRequest, CredentialStore,
    KeyKind, KeyPair, MemoryKeySource, StoredCredentials,
};
use dps_device::{
    Assignment, DeviceEvent, DeviceEvents, DeviceHandle, ErrorKind, HubEndpoint, ProvisionedDevice,
    ProvisioningClient,
};
use dps_types::{Clock, SystemClock};

use super::hub::{Memory, hub_transports, short_waits};
use crate::case::Case;
use crate::dps::{Dps, HUB};
use crate::proof::{DEVICE, Enrollment};

async fn request(kind: KeyKind) -> CertificateRequest {
    let key = KeyPair::generate(kind).expect("a key");
    let request = CertificateRequest::new(DEVICE.parse().expect("an id"), key);
    request.await.expect("a request")
}

/// With and without a certificate request, and with both kinds of key.
pub(crate) async fn issued_with_the_registration(case: Case) {
    let (dps, client) = case.enrolled_with(Enrollment::issuing).await;
    for kind in [KeyKind::P256, KeyKind::P384] {
        let registration = client.register().certificate(request(kind).await);
        let (assignment, certificate) = registration.await.expect("a certificate");
        assert_eq!(assignment.hub().as_str(), HUB);
        assert_eq!(certificate.chain().count(), 3);
        assert_eq!(certificate.lifetime().as_secs() / 86400, 30);
        for hub in hubs(&dps, &client, &assignment) {
            let hub = hub.with_certificate(&certificate);
            let (handle, mut events) = hub.connect();
            let twin = events.drive(handle.twin()).await;
            twin.expect("the hub accepts the certificate");
        }
    }
    let assignment = client.register().await.expect("it is assigned without one");
    assert_eq!(assignment.registration().issued_certificate_chain, None);
    dps.finish().await;
}

/// An enrollment without a certificate authority.
pub(crate) async fn not_issued_without_an_authority(case: Case) {
    let (dps, client) = case.enrolled().await;
    let registration = client.register().certificate(request(KeyKind::P256).await);
    let error = registration.await.expect_err("there is no certificate");
    let kinds = [
        ErrorKind::Certificate,
        ErrorKind::Failed,
        ErrorKind::Rejected,
    ];
    assert!(kinds.contains(&error.kind()), "{error:#}");
    if error.kind() == ErrorKind::Certificate {
        let source = std::error::Error::source(&error).expect("a source");
        let fault = source.downcast_ref::<CertificateFault>();
        assert_eq!(fault, Some(&CertificateFault::Missing));
    }
    drop(client);
    dps.finish().await;
}

/// A certificate that is due is renewed at the hub, and a revoked one at DPS.
pub(crate) async fn renewed_and_replaced_after_a_revocation(case: Case) {
    let (dps, client) = case.enrolled_with(Enrollment::issuing).await;
    for transport in hub_transports(&dps) {
        let clock = Shifted::default();
        let options = CertificateOptions::new(Held::default(), MemoryKeySource::default())
            .with_check_interval(Duration::from_millis(10));
        let device =
            ProvisionedDevice::new(client.clone().with_clock(clock.clone()), Memory::default())
                .with_hub(move |hub| {
                    hub.with_host(std::net::Ipv4Addr::LOCALHOST)
                        .with_transport(transport)
                })
                .with_certificates(options)
                .with_options(short_waits());
        let (handle, mut events) = device.connect();
        in_use(&mut events).await;

        // By the device's clock the certificate is due. The hub has the correct time.
        clock.shift(Duration::from_secs(26 * 86400));
        until(&mut events, |event| {
            matches!(event, CertificateEvent::Renewing(_))
        })
        .await;
        clock.shift(Duration::ZERO);
        in_use(&mut events).await;
        twin(&handle, &mut events).await;

        dps.revoke(DEVICE).await;
        in_use(&mut events).await;
        twin(&handle, &mut events).await;
    }
    drop(client);
    dps.finish().await;
}

async fn twin(handle: &DeviceHandle, events: &mut DeviceEvents) {
    let twin = events.drive(handle.twin()).await;
    twin.expect("the hub accepts the certificate");
}

async fn in_use(events: &mut DeviceEvents) {
    until(events, |event| {
        matches!(event, CertificateEvent::InUse { .. })
    })
    .await;
}

async fn until(events: &mut DeviceEvents, is_it: impl Fn(&CertificateEvent) -> bool) {
    loop {
        match events.next().await.expect("an event") {
            DeviceEvent::Certificate(event) if is_it(&event) => return,
            _ => {}
        }
    }
}

fn hubs(dps: &Dps, client: &ProvisioningClient, assignment: &Assignment) -> [HubEndpoint; 2] {
    let hub = client
        .hub(assignment)
        .with_host(std::net::Ipv4Addr::LOCALHOST);
    hub_transports(dps).map(|kind| hub.clone().with_transport(kind))
}

/// A clock that is ahead.
#[derive(Debug, Clone, Default)]
struct Shifted(Arc<Mutex<Duration>>);

impl Shifted {
    fn shift(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = by;
    }
}

impl Clock for Shifted {
    fn now(&self) -> std::time::SystemTime {
        SystemClock.now() + *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store in memory.
#[derive(Debug, Default)]
struct Held(Mutex<StoredCredentials>);

#[async_trait]
impl CredentialStore for Held {
    async fn load(&self) -> std::io::Result<StoredCredentials> {
        Ok(self.held().clone())
    }

    async fn save_next(
        &self,
        credential: &dps_device::certificate::Credential,
    ) -> std::io::Result<()> {
        self.held().next = Some(credential.clone());
        Ok(())
    }

    async fn confirm_next(&self) -> std::io::Result<()> {
        let mut held = self.held();
        if let Some(next) = held.next.take() {
            held.current = Some(next);
        }
        Ok(())
    }

    async fn clear(&self) -> std::io::Result<()> {
        *self.held() = StoredCredentials::default();
        Ok(())
    }
}

impl Held {
    fn held(&self) -> std::sync::MutexGuard<'_, StoredCredentials> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
