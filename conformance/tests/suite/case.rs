//! A transport and a proof: what a scenario is played with.

use std::time::Duration;

use dps_device::{ErrorKind, ProvisioningClient};
use dps_emulator::{Effect, Step};
use tokio::time::timeout;

use crate::dps::{Dps, HUB, OTHER_HUB};
use crate::proof::{Device, Enrollment, Issued, Proof};

/// Longer than anything here takes: what is not done by then hangs. Some scenarios put the clock on.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
pub(crate) struct Case {
    connect: fn(Device, &Dps) -> ProvisioningClient,
    proof: Proof,
}

impl Case {
    pub(crate) fn new(connect: fn(Device, &Dps) -> ProvisioningClient, proof: Proof) -> Self {
        Self { connect, proof }
    }

    /// Something goes wrong once. A device with a TPM asks twice to be registered: it goes wrong after the challenge.
    pub(crate) fn next(self, dps: &Dps, step: Step, effect: Effect) {
        if self.proof == Proof::Tpm && step == Step::Register {
            dps.next(step, Effect::Delay(Duration::ZERO));
        }
        dps.next(step, effect);
    }

    /// What the service says of a device that nobody enrolled. It challenges any TPM, and finds out later.
    pub(crate) fn unknown_is(self) -> ErrorKind {
        match self.proof {
            Proof::Tpm => ErrorKind::Failed,
            _ => ErrorKind::Unauthorized,
        }
    }

    pub(crate) async fn play(self, scenario: impl Future<Output = ()>) {
        let played = timeout(PATIENCE, Box::pin(scenario)).await;
        played.expect("the scenario comes to an end");
    }

    /// An instance, and a device that is enrolled there.
    pub(crate) async fn enrolled(self) -> (Dps, ProvisioningClient) {
        self.enrolled_with(|enrollment| enrollment).await
    }

    /// The same, with a choice of the operator's.
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

    /// An instance with two hubs, and a device that belongs to the first of them by its enrollment.
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

    /// An instance that knows nobody, and a device.
    pub(crate) async fn unknown(self) -> (Dps, ProvisioningClient) {
        let dps = Dps::start().await;
        let client = self.client(self.proof.issue().device, &dps);
        (dps, client)
    }

    /// An instance, and one that claims to be the device that is enrolled there.
    pub(crate) async fn impostor(self) -> (Dps, ProvisioningClient) {
        let (dps, _, impostor) = self.enrolled_and_impostor().await;
        (dps, impostor)
    }

    /// An instance, a device that is enrolled there, and one that claims to be it.
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
