//! A combination of a transport and a proof, which every scenario runs with.

use std::time::Duration;

use dps_device::{ErrorKind, ProvisioningClient};
use dps_emulator::fault::{Effect, Step};
use tokio::time::timeout;

use crate::dps::{Dps, HUB, OTHER_HUB};
use crate::proof::{Device, Enrollment, Issued, Proof};

/// A scenario that takes longer hangs. Some scenarios advance the clock.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
pub(crate) struct Case {
    connect: fn(Device, &Dps) -> ProvisioningClient,
    proof: Proof,
}

impl Case {
    pub(crate) fn new(connect: fn(Device, &Dps) -> ProvisioningClient, proof: Proof) -> Self {
        Self { connect, proof }
    }

    /// Injects a fault once. A device with a TPM sends its registration twice over HTTPS: the fault is after the challenge.
    pub(crate) fn next(self, dps: &Dps, step: Step, effect: Effect) {
        if self.proof == Proof::Tpm && step == Step::Register {
            dps.next(step, Effect::Delay(Duration::ZERO));
        }
        dps.next(step, effect);
    }

    /// The error kind for a device without an enrollment. DPS challenges any TPM, and reports the failure with the first poll.
    pub(crate) fn unknown_is(self) -> ErrorKind {
        match self.proof {
            Proof::Tpm | Proof::TpmOverSasl => ErrorKind::Failed,
            _ => ErrorKind::Unauthorized,
        }
    }

    pub(crate) async fn run(self, scenario: impl Future<Output = ()>) {
        let played = timeout(SCENARIO_TIMEOUT, Box::pin(scenario)).await;
        played.expect("the scenario ends in time");
    }

    /// An emulator, and an enrolled device.
    pub(crate) async fn enrolled(self) -> (Dps, ProvisioningClient) {
        self.enrolled_with(|enrollment| enrollment).await
    }

    /// An emulator, and a device with an edited enrollment.
    pub(crate) async fn enrolled_with(
        self,
        choose: impl FnOnce(Enrollment) -> Enrollment,
    ) -> (Dps, ProvisioningClient) {
        let Issued {
            enrollment, device, ..
        } = self.proof.issue();
        let dps = Dps::start().await;
        choose(enrollment).create(dps.service()).await;
        let client = self.client(device, &dps);
        (dps, client)
    }

    /// An emulator with two hubs, and a device whose enrollment names the first.
    pub(crate) async fn enrolled_with_a_choice(self) -> (Dps, ProvisioningClient, Enrollment) {
        let Issued {
            enrollment, device, ..
        } = self.proof.issue();
        let dps = Dps::start_with(&[HUB, OTHER_HUB]).await;
        let enrollment = enrollment.allocated_to(HUB);
        enrollment.clone().create(dps.service()).await;
        let client = self.client(device, &dps);
        (dps, client, enrollment)
    }

    /// An emulator without enrollments, and a device.
    pub(crate) async fn unknown(self) -> (Dps, ProvisioningClient) {
        let dps = Dps::start().await;
        let client = self.client(self.proof.issue().device, &dps);
        (dps, client)
    }

    /// An emulator, and an impostor of an enrolled device.
    pub(crate) async fn impostor(self) -> (Dps, ProvisioningClient) {
        let (dps, _, impostor) = self.enrolled_and_impostor().await;
        (dps, impostor)
    }

    /// An emulator, an enrolled device, and an impostor of it.
    pub(crate) async fn enrolled_and_impostor(
        self,
    ) -> (Dps, ProvisioningClient, ProvisioningClient) {
        let Issued {
            enrollment,
            device,
            impostor,
        } = self.proof.issue();
        let dps = Dps::start().await;
        enrollment.create(dps.service()).await;
        let [client, impostor] = [device, impostor].map(|device| self.client(device, &dps));
        (dps, client, impostor)
    }

    fn client(self, device: Device, dps: &Dps) -> ProvisioningClient {
        (self.connect)(device, dps)
            .with_host(std::net::Ipv4Addr::LOCALHOST)
            .with_roots(dps.roots())
            .with_min_poll_interval(Duration::from_millis(10))
    }
}
