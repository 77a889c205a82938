//! What one registration, one allocation and one token cost: the things that several benchmarks measure with.

mod carrier;

use std::error::Error;
use std::time::Duration;

use dps_device::{
    Attestation, ProvisioningClient, Roots, SymmetricKeyAttestation, X509Attestation,
};
use dps_emulator::{CertificateAuthority, Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::SymmetricKey;
use dps_types::enrollment::EnrollmentGroup;
use rustix::time::{ClockId, clock_gettime};

pub use carrier::Carrier;

/// What DPS posts to a custom allocation webhook, as the documentation shows it, from a device that names its model.
///
/// Source: azure-docs `iot-dps/concepts-custom-allocation.md`.
pub const ALLOCATION_REQUEST: &str = include_str!("allocation_request.json");

/// An emulator that lets nobody wait, with one enrollment group of each kind.
#[derive(Debug)]
pub struct Service {
    emulator: Emulator,
    roots: Roots,
    group_key: SymmetricKey,
    factory: CertificateAuthority,
}

impl Service {
    /// Starts it in this process, in memory.
    ///
    /// # Errors
    /// When the machine has no socket for it.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let builder = Emulator::builder().link_hub("contoso-hub".parse::<LinkedHub>()?);
        let emulator = builder.retry_after(Duration::ZERO).start().await?;
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

    /// The emulator itself.
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// The key of the group of devices with symmetric keys.
    pub fn group_key(&self) -> &SymmetricKey {
        &self.group_key
    }

    /// A device's proof: a key of its own.
    ///
    /// # Errors
    /// When the name is no registration id.
    pub fn with_key(&self, name: &str) -> Result<SymmetricKeyAttestation, Box<dyn Error>> {
        Ok(SymmetricKeyAttestation::from_group(
            name.parse()?,
            &self.group_key,
        ))
    }

    /// A device's proof: a certificate that the factory issues now.
    ///
    /// # Errors
    /// When the name is no registration id.
    pub fn with_certificate(&self, name: &str) -> Result<X509Attestation, Box<dyn Error>> {
        let issued = self.factory.issue(name)?;
        Ok(X509Attestation::from_pem(
            issued.certificate_chain_pem(),
            issued.private_key_pem(),
        )?)
    }

    /// The port at which the emulator takes this carrier.
    pub fn port(&self, carrier: Carrier) -> u16 {
        match carrier {
            Carrier::Http | Carrier::WebSocket => self.emulator.https_port(),
            Carrier::Mqtt => self.emulator.mqtt_port(),
        }
    }

    /// A new client of this service, which connects anew and waits as little as a client can.
    pub fn client(&self, carrier: Carrier, who: impl Attestation + 'static) -> ProvisioningClient {
        let id_scope = self.emulator.id_scope().clone();
        carrier
            .client(self.port(carrier), id_scope, who)
            .with_roots(self.roots.clone())
    }
}

/// What this process has taken since it began: user and system time of all its threads. What other programs do at the
/// same time does not count.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or_default(),
        time.tv_nsec.try_into().unwrap_or_default(),
    )
}
