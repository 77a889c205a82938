//! Shared parts of the benchmarks: an emulator with enrollments, device clients, CPU time.

pub mod postgres;
pub mod replicas;
pub mod soak;
mod transport_kind;

use std::error::Error;
use std::time::Duration;

use dps_device::{
    Attestation, ProvisioningClient, Roots, SymmetricKeyAttestation, X509Attestation,
};
use dps_emulator::{CertificateAuthority, Emulator, EmulatorBuilder, LinkedHub};
use dps_service::ServiceClient;
use dps_types::SymmetricKey;
use dps_types::enrollment::EnrollmentGroup;
use rustix::time::{ClockId, clock_gettime};

pub use transport_kind::TransportKind;

/// The documented request of DPS to a custom allocation webhook, with a payload that names the model.
///
/// Source: azure-docs `iot-dps/concepts-custom-allocation.md`.
pub const ALLOCATION_REQUEST: &str = include_str!("allocation_request.json");

/// An emulator without waits, with one enrollment group of each kind.
#[derive(Debug)]
pub struct Service {
    emulator: Emulator,
    roots: Roots,
    group_key: SymmetricKey,
    factory: CertificateAuthority,
}

impl Service {
    /// Starts the emulator in this process, in memory.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        Self::start_with_mqtt_port(0).await
    }

    /// As [`start`](Self::start), with this port for MQTT.
    ///
    /// # Errors
    /// If the port is not free.
    pub async fn start_with_mqtt_port(port: u16) -> Result<Self, Box<dyn Error>> {
        Self::start_with(|builder| builder.mqtt_port(port)).await
    }

    /// As [`start`](Self::start), with these options of the emulator.
    ///
    /// # Errors
    /// If the emulator does not start.
    pub async fn start_with(
        choose: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder,
    ) -> Result<Self, Box<dyn Error>> {
        let builder = Emulator::builder()
            .link_hub("contoso-hub".parse::<LinkedHub>()?)
            .retry_after(Duration::ZERO);
        let emulator = choose(builder).start().await?;
        let roots = Roots::from_pem(emulator.ca_pem())?;
        let group_key = SymmetricKey::generate();
        let factory = CertificateAuthority::new("Contoso Factory")?;

        let operator =
            ServiceClient::from_connection_string(&emulator.service_connection_string())?
                .with_roots(roots.clone());
        let by_key =
            EnrollmentGroup::from_keys("keys".parse()?, &group_key, &SymmetricKey::generate());
        let by_ca = EnrollmentGroup::signing_certificate(
            "certificates".parse()?,
            factory.certificate_pem(),
        );
        for group in [by_key, by_ca] {
            operator.enrollment_groups().create(&group).await?;
        }
        Ok(Self {
            emulator,
            roots,
            group_key,
            factory,
        })
    }

    /// The emulator.
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// The roots that trust the emulator's certificate.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The key of the group with symmetric keys.
    pub fn group_key(&self) -> &SymmetricKey {
        &self.group_key
    }

    /// Returns an attestation with a symmetric key.
    ///
    /// # Errors
    /// If the name is not a valid registration id.
    pub fn with_key(&self, name: &str) -> Result<SymmetricKeyAttestation, Box<dyn Error>> {
        Ok(SymmetricKeyAttestation::from_group(
            name.parse()?,
            &self.group_key,
        ))
    }

    /// Returns an attestation with a newly issued certificate.
    ///
    /// # Errors
    /// If the name is not a valid registration id.
    pub fn with_certificate(&self, name: &str) -> Result<X509Attestation, Box<dyn Error>> {
        let issued = self.factory.issue(name)?;
        Ok(X509Attestation::from_pem(
            issued.certificate_chain_pem(),
            issued.private_key_pem(),
        )?)
    }

    /// The emulator's port for this transport.
    pub fn port(&self, transport: TransportKind) -> u16 {
        match transport {
            TransportKind::Http | TransportKind::WebSocket | TransportKind::AmqpWebSocket => {
                self.emulator.https_port()
            }
            TransportKind::Amqp => self.emulator.amqp_port(),
            TransportKind::Mqtt => self.emulator.mqtt_port(),
        }
    }

    /// Returns a new client of this emulator, with a new connection and the shortest poll interval.
    pub fn client(
        &self,
        transport: TransportKind,
        who: impl Attestation + 'static,
    ) -> ProvisioningClient {
        let id_scope = self.emulator.id_scope().clone();
        transport
            .client(self.port(transport), id_scope, who)
            .with_roots(self.roots.clone())
    }
}

/// The CPU time of this process since its start: user and system time of all threads.
///
/// Not under valgrind: rustix reads the vDSO, which valgrind unmaps, and the process ends with SIGSEGV. A build of rustix with its feature
/// `use-libc-auxv` does not.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or_default(),
        time.tv_nsec.try_into().unwrap_or_default(),
    )
}
