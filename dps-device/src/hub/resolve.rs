//! Finds the hub of a device: from the store, from a lookup, or from a new registration.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dps_types::{DeviceId, HubHostname, RegistrationStatus};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::assignment_store::AssignmentStore;
use super::cached_assignment::CachedAssignment;
use super::monitor::{Chain, Monitor};
use crate::assignment::Assignment;
use crate::attestation::Proof;
#[cfg(feature = "certificates")]
use crate::certificate::{CertificateEvent, keeper::Keeper};
use crate::client::ProvisioningClient;
use crate::error::Error;
use crate::register::Register;

/// The timeout of a lookup. It is short, because a registration can replace the lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(60);
/// The timeout of each use of the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// The reason for which the device looks for its hub.
#[derive(Debug, Clone)]
pub(super) enum Reason {
    /// The device was started.
    Start,
    /// The hub refused the device, or the operator asked for a registration.
    Reprovision,
    /// This hub has been unreachable for a long time.
    Outage(CachedAssignment),
}

/// The hub of the device, and how it was found.
pub(super) struct Resolved {
    pub(super) assignment: CachedAssignment,
    pub(super) registered: bool,
}

/// Owns everything that it needs, so that it can continue after the caller's future was dropped.
pub(super) struct Resolver {
    pub(super) client: ProvisioningClient,
    pub(super) store: Arc<dyn AssignmentStore>,
    pub(super) payload: Option<Value>,
    /// The next registration starts at this time or later.
    pub(super) not_before: Instant,
    pub(super) monitor: Monitor,
    #[cfg(feature = "certificates")]
    pub(super) certificates: Option<Arc<Keeper>>,
}

impl Resolver {
    pub(super) async fn run(self, reason: Reason) -> Result<Resolved, Error> {
        match reason {
            #[cfg(feature = "certificates")]
            Reason::Start if self.needs_certificate().await? => self.register().await,
            Reason::Start => match self.load().await {
                Some(assignment) => Ok(Resolved::known(assignment)),
                None => self.register().await,
            },
            Reason::Reprovision => self.register().await,
            Reason::Outage(last) => self.after_outage(last).await,
        }
    }

    /// The stored assignment, if it is for this device and this DPS instance.
    async fn load(&self) -> Option<CachedAssignment> {
        let cached = match in_time(self.store.load()).await {
            Ok(cached) => cached?,
            Err(error) => {
                warn!(error = %Chain(&error), "the stored assignment cannot be loaded: the device registers");
                return None;
            }
        };
        let target = &self.client.target;
        let is_ours = cached.id_scope() == target.id_scope()
            && cached.registration_id() == target.registration_id();
        if !is_ours {
            warn!(
                expected_id_scope = %target.id_scope(),
                expected_registration_id = %target.registration_id(),
                found_id_scope = %cached.id_scope(),
                found_registration_id = %cached.registration_id(),
                "the stored assignment is for another device or DPS instance: the device registers"
            );
            return None;
        }
        info!(hub = %cached.hub(), device_id = %cached.device_id(), "using the stored assignment");
        Some(cached)
    }

    /// DPS may already have another hub for the device. If it has not, a registration may assign one. If DPS is unreachable as
    /// well, the device stays with its last hub.
    async fn after_outage(self, last: CachedAssignment) -> Result<Resolved, Error> {
        if let Some(known) = self.look_up().await
            && !known.is_same_hub(&last)
        {
            self.monitor.assigned(&known);
            self.save(&known).await;
            return Ok(Resolved::known(known));
        }
        let monitor = self.monitor.clone();
        match self.register().await {
            Err(error) if error.is_retryable() => {
                let what = "DPS is unreachable as well: staying with the last hub";
                monitor.failed(what, &error, None);
                Ok(Resolved::known(last))
            }
            outcome => outcome,
        }
    }

    /// Looks up the assignment, which costs DPS less than a registration. Not for a TPM: only a registration returns the hub key.
    async fn look_up(&self) -> Option<CachedAssignment> {
        if matches!(self.client.attestation.proof(), Proof::Tpm(_)) {
            return None;
        }
        let lookup = match self.client.lookup().timeout(LOOKUP_TIMEOUT).await {
            Ok(lookup) => lookup,
            Err(error) => {
                self.monitor
                    .failed("the lookup of the device failed", &error, None);
                return None;
            }
        };
        if lookup.status != Some(RegistrationStatus::Assigned) {
            return None;
        }
        let found = self.assignment(lookup.assigned_hub?, lookup.device_id?);
        let found = found.with_profile(lookup.connection_profile);
        Some(found.with_payload(lookup.payload))
    }

    async fn register(self) -> Result<Resolved, Error> {
        sleep_until(self.not_before).await;
        self.monitor.registering();
        let mut register = self.client.register();
        if let Some(payload) = &self.payload {
            register = register.payload(payload.clone());
        }
        let assigned = self.assigned(register).await?;
        let assignment = self
            .assignment(assigned.hub().clone(), assigned.device_id().clone())
            .with_profile(assigned.connection_profile().cloned())
            .with_payload(assigned.payload_json().cloned());
        self.monitor.assigned(&assignment);
        self.save(&assignment).await;
        Ok(Resolved {
            assignment,
            registered: true,
        })
    }

    /// Registers, with a certificate request if the device has certificates.
    async fn assigned(&self, register: Register) -> Result<Assignment, Error> {
        #[cfg(feature = "certificates")]
        if let Some(keeper) = &self.certificates {
            let (key, request) = keeper.request().await?;
            let (assigned, certificate) = register.certificate(request).await?;
            match keeper.keep(key, certificate.clone()).await {
                Ok(()) => {
                    let issued = CertificateEvent::Issued(Box::new(certificate));
                    self.monitor.certificate(issued);
                }
                // The device is assigned. Another request has the place of the key, or the hardware is in use for too long.
                Err(error) => {
                    let what = "the certificate of the registration is not used";
                    self.monitor.failed(what, &error, None);
                }
            }
            return Ok(assigned);
        }
        register.await
    }

    /// True if the device has no valid certificate for its hub.
    #[cfg(feature = "certificates")]
    async fn needs_certificate(&self) -> Result<bool, Error> {
        let Some(keeper) = &self.certificates else {
            return Ok(false);
        };
        keeper.load().await?;
        if let Some(valid_until) = keeper.expired() {
            let expired = CertificateEvent::Expired { valid_until };
            self.monitor.certificate(expired);
        }
        Ok(keeper.credentials().is_none())
    }

    /// The device uses the assignment even if it cannot be stored.
    async fn save(&self, assignment: &CachedAssignment) {
        if let Err(error) = in_time(self.store.save(assignment)).await {
            warn!(error = %Chain(&error), "the assignment cannot be stored: a restart of the device uses the earlier one, or leads to a registration");
        }
    }

    fn assignment(&self, hub: HubHostname, device_id: DeviceId) -> CachedAssignment {
        let target = &self.client.target;
        CachedAssignment::new(
            target.id_scope().clone(),
            target.registration_id().clone(),
            hub,
            device_id,
        )
    }
}

impl Resolved {
    fn known(assignment: CachedAssignment) -> Self {
        Self {
            assignment,
            registered: false,
        }
    }
}

/// Waits for the store, which may be a disk or a server that does not answer.
pub(super) async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STORE_TIMEOUT, work).await.unwrap_or_else(|_| {
        let what = format!("the store did not finish within {STORE_TIMEOUT:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    })
}
