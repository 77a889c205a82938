//! Where a device belongs: what it remembers, what DPS knows, or a new registration.

use std::sync::Arc;
use std::time::Duration;

use dps_types::RegistrationStatus;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::cached::{AssignmentStore, CachedAssignment};
use crate::attestation::Proof;
use crate::client::ProvisioningClient;
use crate::error::Error;

/// How long a lookup may take: it only spares a registration.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(60);

/// Why the device looks for its hub.
#[derive(Debug, Clone)]
pub(super) enum Reason {
    /// It does not know yet.
    Start,
    /// The hub refuses it, or somebody wants it to register.
    Anew,
    /// This hub has been out of reach for long.
    Outage(CachedAssignment),
}

/// Everything a search needs, of its own: so that it goes on where it was when nobody waited for it in between.
pub(super) struct Search {
    pub(super) client: ProvisioningClient,
    pub(super) store: Arc<dyn AssignmentStore>,
    pub(super) payload: Option<Value>,
    /// When the device may register at the earliest.
    pub(super) not_before: Instant,
}

/// The hub, and whether a registration has led there.
pub(super) type Found = (CachedAssignment, bool);

impl Search {
    pub(super) async fn run(self, reason: Reason) -> Result<Found, Error> {
        match reason {
            Reason::Start => match self.remembered().await {
                Some(assignment) => Ok((assignment, false)),
                None => self.register().await,
            },
            Reason::Anew => self.register().await,
            Reason::Outage(last) => self.elsewhere(last).await,
        }
    }

    /// What the store has, when it is for this device and this instance.
    async fn remembered(&self) -> Option<CachedAssignment> {
        let target = &self.client.target;
        let cached = match self.store.load().await {
            Ok(cached) => cached?,
            Err(error) => {
                warn!(%error, "the last assignment cannot be loaded");
                return None;
            }
        };
        let is_ours = cached.id_scope() == target.id_scope()
            && cached.registration_id() == target.registration_id();
        if !is_ours {
            warn!("the assignment in the store is that of another device or instance");
            return None;
        }
        Some(cached)
    }

    /// DPS may know of another hub; if not, a registration may bring one. Without DPS there is none but the last.
    async fn elsewhere(self, last: CachedAssignment) -> Result<Found, Error> {
        if let Some(known) = self.looked_up().await
            && !known.leads_where(&last)
        {
            self.save(&known).await;
            return Ok((known, false));
        }
        match self.register().await {
            Err(error) if error.is_retryable() => {
                warn!(%error, "DPS is out of reach, too: staying with the hub");
                Ok((last, false))
            }
            outcome => outcome,
        }
    }

    /// Costs DPS less than a registration. For a TPM it would not do: a hub needs its key, which a registration brings.
    async fn looked_up(&self) -> Option<CachedAssignment> {
        if matches!(self.client.attestation.proof(), Proof::Tpm(_)) {
            return None;
        }
        let lookup = self.client.lookup().timeout(LOOKUP_DEADLINE).await.ok()?;
        if lookup.status != Some(RegistrationStatus::Assigned) {
            return None;
        }
        Some(self.assignment(lookup.assigned_hub?, lookup.device_id?))
    }

    async fn register(self) -> Result<Found, Error> {
        sleep_until(self.not_before).await;
        let mut register = self.client.register();
        if let Some(payload) = &self.payload {
            register = register.payload(payload.clone());
        }
        let assignment = register.await?;
        let found = self.assignment(assignment.hub().clone(), assignment.device_id().clone());
        info!(hub = %found.hub(), device_id = %found.device_id(), "the device belongs to this hub");
        self.save(&found).await;
        Ok((found, true))
    }

    /// The device goes to its hub also when it cannot remember it.
    async fn save(&self, assignment: &CachedAssignment) {
        if let Err(error) = self.store.save(assignment).await {
            warn!(%error, "the assignment cannot be saved");
        }
    }

    fn assignment(
        &self,
        hub: dps_types::HubHostname,
        device_id: dps_types::DeviceId,
    ) -> CachedAssignment {
        let target = &self.client.target;
        CachedAssignment::new(
            target.id_scope().clone(),
            target.registration_id().clone(),
            hub,
            device_id,
        )
    }
}
