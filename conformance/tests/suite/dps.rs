//! An emulator, its service client, and the forwarder in front of it.

use std::time::Duration;

use dps_device::Roots;
use dps_emulator::fault::{Effect, Fault, Step};
use dps_emulator::{Emulator, EmulatorBuilder, HubHandle, LinkedHub};
use dps_service::ServiceClient;
use dps_types::IdScope;

use crate::wire::{Ports, Wire};

pub(crate) const HUB: &str = "toasters.azure-devices.net";
pub(crate) const OTHER_HUB: &str = "more-toasters.azure-devices.net";

/// The certificate authority of [`Enrollment::issuing`](crate::proof::Enrollment::issuing).
pub(crate) const AUTHORITY: &str = "contoso/factory-1/thermostats=30";

pub(crate) struct Dps {
    emulator: Emulator,
    service: ServiceClient,
    roots: Roots,
    pub(crate) wire: Wire,
}

impl Dps {
    /// An emulator with one hub, without `Retry-After`.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[HUB]).await
    }

    /// An emulator with these hubs.
    pub(crate) async fn start_with(hubs: &[&str]) -> Self {
        let link = |builder: EmulatorBuilder, hub: &&str| {
            builder.link_hub(hub.parse::<LinkedHub>().expect("a hub"))
        };
        let builder = hubs.iter().fold(Emulator::builder(), link);
        let authority = AUTHORITY.parse().expect("an authority");
        let builder = builder.certificate_authority(authority);
        let emulator = builder.retry_after(Duration::ZERO).start().await;
        let emulator = emulator.expect("the emulator starts");
        let roots = Roots::from_pem(emulator.ca_pem()).expect("the emulator's root");
        let connection = emulator.service_connection_string();
        let service = ServiceClient::from_connection_string(&connection)
            .expect("the emulator's connection string")
            .with_roots(roots.clone());
        let wire = Wire::to(Ports {
            https: emulator.https_port(),
            mqtt: emulator.mqtt_port(),
            amqp: emulator.amqp_port(),
        })
        .await;
        Self {
            emulator,
            service,
            roots,
            wire,
        }
    }

    pub(crate) fn id_scope(&self) -> IdScope {
        self.emulator.id_scope().clone()
    }

    pub(crate) fn ports(&self) -> Ports {
        self.wire.ports()
    }

    pub(crate) fn roots(&self) -> Roots {
        self.roots.clone()
    }

    pub(crate) fn service(&self) -> &ServiceClient {
        &self.service
    }

    /// The hub that devices are assigned to.
    pub(crate) fn hub(&self) -> HubHandle {
        self.hub_named(HUB)
    }

    pub(crate) fn hub_named(&self, name: &str) -> HubHandle {
        self.emulator.hub(name).expect("the hub is linked")
    }

    /// Revokes the certificates of a device.
    pub(crate) async fn revoke(&self, device: &str) {
        let revoked = self.emulator.issuance().revoke(device).await;
        revoked.expect("the certificates are revoked");
    }

    /// Injects a fault once.
    pub(crate) fn next(&self, step: Step, effect: Effect) {
        self.emulator.faults().next(Fault::new(step, effect));
    }

    /// Runs until all faults were used. It must not end before.
    pub(crate) async fn until_faults_used<T: std::fmt::Debug>(&self, run: impl Future<Output = T>) {
        tokio::select! {
            biased;
            () = self.emulator.faults().used_up() => {}
            ended = run => panic!("it ended before: {ended:?}"),
        }
    }

    /// Checks that all faults were used and all connections are closed, and stops the emulator.
    pub(crate) async fn finish(self) {
        assert_eq!(self.emulator.faults().pending(), 0, "a fault was not used");
        self.wire.all_closed().await;
        drop(self.service);
        self.emulator.shutdown().await;
    }
}
