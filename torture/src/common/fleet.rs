//! Devices of one enrollment group at an emulator.

use std::time::Duration;

use dps_benches::TransportKind;
use dps_device::{Assignment, ErrorKind, ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_types::enrollment::EnrollmentGroup;
use dps_types::{IdScope, SymmetricKey};
use tokio::time::timeout;

use super::Result;
use super::emulator::Emulator;

/// The longest time for a registration that nothing disturbs, on a machine with other work.
const UNDISTURBED: Duration = Duration::from_secs(600);

/// The devices of a group with symmetric keys.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) id_scope: IdScope,
    pub(crate) roots: Roots,
    pub(crate) key: SymmetricKey,
}

impl Fleet {
    /// Creates the group.
    pub(crate) async fn enroll(emulator: &Emulator) -> Result<Self> {
        let key = SymmetricKey::generate();
        let group = EnrollmentGroup::from_keys("fleet".parse()?, &key, &SymmetricKey::generate());
        let service = emulator.service()?;
        service.enrollment_groups().create(&group).await?;
        Ok(Self {
            id_scope: emulator.id_scope()?,
            roots: emulator.roots().clone(),
            key,
        })
    }

    /// A client of a device, which connects to this port.
    pub(crate) fn client(
        &self,
        name: &str,
        transport: TransportKind,
        port: u16,
    ) -> Result<ProvisioningClient> {
        let who = SymmetricKeyAttestation::from_group(name.parse()?, &self.key);
        let client = transport.client(port, self.id_scope.clone(), who);
        Ok(client.with_roots(self.roots.clone()))
    }

    /// Registers a device with nothing in between. Everything but an assignment is an error.
    pub(crate) async fn register(
        &self,
        name: &str,
        transport: TransportKind,
        port: u16,
    ) -> Result<Assignment> {
        let client = self.client(name, transport, port)?;
        let registered = timeout(UNDISTURBED, client.register()).await;
        Ok(registered.map_err(|_| format!("{name} is not registered after {UNDISTURBED:?}"))??)
    }
}

/// The end of a registration that was disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Assigned,
    /// An error, and the kind of the last failure before a time limit.
    Failed {
        kind: ErrorKind,
        last: Option<ErrorKind>,
        text: String,
    },
    /// It had not ended after its own limit and a generous time.
    Hung,
    Panicked,
}

/// Registers with a limit of its own, and waits much longer than that.
pub(crate) async fn outcome(client: &ProvisioningClient, limit: Duration) -> Outcome {
    let register = client.register().timeout(limit);
    let running = tokio::spawn(async move { register.await });
    let abort = running.abort_handle();
    match timeout(limit + UNDISTURBED, running).await {
        Ok(Ok(Ok(_))) => Outcome::Assigned,
        Ok(Ok(Err(error))) => Outcome::Failed {
            kind: error.kind(),
            last: error.last_failure().map(dps_device::Error::kind),
            text: format!("{error:#}"),
        },
        Ok(Err(_)) => Outcome::Panicked,
        Err(_) => {
            abort.abort();
            Outcome::Hung
        }
    }
}
