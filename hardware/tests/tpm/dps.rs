//! The emulator, a service client, and clients for devices.

use std::time::Duration;

use dps_device::{Attestation, Http, ProvisioningClient, Roots, Transport};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::RegistrationId;
use dps_types::enrollment::{AttestationMechanism, IndividualEnrollment, ProvisioningStatus};
use dps_types::tpm::TpmPublic;

pub(crate) const HUB: &str = "toasters.azure-devices.net";

pub(crate) struct Dps {
    pub(crate) emulator: Emulator,
    service: ServiceClient,
    roots: Roots,
}

impl Dps {
    pub(crate) async fn start() -> Self {
        let builder = Emulator::builder().link_hub(HUB.parse::<LinkedHub>().unwrap());
        let emulator = builder.retry_after(Duration::ZERO).start().await.unwrap();
        let roots = Roots::from_pem(emulator.ca_pem()).unwrap();
        let service = ServiceClient::from_connection_string(&emulator.service_connection_string())
            .unwrap()
            .with_roots(roots.clone());
        Self {
            emulator,
            service,
            roots,
        }
    }

    pub(crate) async fn enroll(&self, id: &RegistrationId, key: &TpmPublic) {
        self.enroll_as(id, AttestationMechanism::tpm(key.to_base64()))
            .await;
    }

    pub(crate) async fn enroll_as(&self, id: &RegistrationId, attestation: AttestationMechanism) {
        let enrollment = IndividualEnrollment::new(id.clone(), attestation);
        let enrollments = self.service.individual_enrollments();
        enrollments.create(&enrollment).await.unwrap();
    }

    pub(crate) async fn disable(&self, id: &RegistrationId) {
        let enrollments = self.service.individual_enrollments();
        let mut enrollment = enrollments.get(id).await.unwrap();
        enrollment.provisioning_status = Some(ProvisioningStatus::Disabled);
        enrollments.update(&enrollment).await.unwrap();
    }

    pub(crate) fn client(&self, who: impl Attestation + 'static) -> ProvisioningClient {
        let transport = Http::default().with_port(self.emulator.https_port());
        self.client_over(transport, who)
    }

    pub(crate) fn client_over(
        &self,
        transport: impl Transport + 'static,
        who: impl Attestation + 'static,
    ) -> ProvisioningClient {
        ProvisioningClient::new(self.emulator.id_scope().clone(), who, transport)
            .with_host(std::net::Ipv4Addr::LOCALHOST)
            .with_roots(self.roots.clone())
            .with_min_poll_interval(Duration::from_millis(1))
    }

    pub(crate) async fn shutdown(self) {
        drop(self.service);
        self.emulator.shutdown().await;
    }
}
