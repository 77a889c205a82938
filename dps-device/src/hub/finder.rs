//! Finds the hub of a device, a fixed one or the one that DPS assigns, and limits how often the device registers.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;

use super::assignment_store::AssignmentStore;
use super::cached_assignment::CachedAssignment;
use super::endpoint::HubEndpoint;
use super::monitor::Monitor;
use super::resolve::{Reason, Resolved, Resolver, in_time};
#[cfg(feature = "certificates")]
use crate::certificate::{RenewalPlace, keeper::Keeper};
use crate::client::ProvisioningClient;
use crate::error::Error;
use crate::poll::Pace;

type Search = BoxFuture<'static, Result<Resolved, Error>>;

pub(super) enum Finder {
    Fixed(Box<HubEndpoint>),
    Dps(Box<DpsFinder>),
}

impl Finder {
    pub(super) async fn find(
        &mut self,
        reason: Reason,
        monitor: &Monitor,
    ) -> Result<HubEndpoint, Error> {
        match self {
            Self::Fixed(endpoint) => Ok((**endpoint).clone()),
            Self::Dps(finder) => {
                let assignment = finder.find(reason, monitor).await?;
                Ok(finder.endpoint(&assignment))
            }
        }
    }

    pub(super) fn dps(&self) -> Option<&DpsFinder> {
        match self {
            Self::Fixed(_) => None,
            Self::Dps(finder) => Some(finder),
        }
    }

    pub(super) fn dps_mut(&mut self) -> Option<&mut DpsFinder> {
        match self {
            Self::Fixed(_) => None,
            Self::Dps(finder) => Some(finder),
        }
    }
}

/// Finds the hub in the store or at DPS.
pub(super) struct DpsFinder {
    pub(super) client: ProvisioningClient,
    pub(super) store: Arc<dyn AssignmentStore>,
    pub(super) configure: Box<dyn Fn(HubEndpoint) -> HubEndpoint + Send + Sync>,
    pub(super) payload: Option<Value>,
    pub(super) assignment: Option<CachedAssignment>,
    #[cfg(feature = "certificates")]
    pub(super) certificates: Option<Arc<Keeper>>,
    /// A search, kept here so that it continues if the caller's future is dropped.
    resolving: Option<(Discriminant<Reason>, Search)>,
    /// A registration has just ended, and no hub has accepted the device since.
    pub(super) just_registered: bool,
    /// The waits between registrations.
    pace: Pace,
    not_before: Instant,
}

impl DpsFinder {
    pub(super) fn new(client: ProvisioningClient, store: Arc<dyn AssignmentStore>) -> Self {
        Self {
            pace: Pace::new(client.min_poll_interval),
            not_before: Instant::now(),
            client,
            store,
            configure: Box::new(|hub| hub),
            payload: None,
            assignment: None,
            #[cfg(feature = "certificates")]
            certificates: None,
            resolving: None,
            just_registered: false,
        }
    }

    /// Finds the hub. An interrupted search for the same reason continues.
    pub(super) async fn find(
        &mut self,
        reason: Reason,
        monitor: &Monitor,
    ) -> Result<CachedAssignment, Error> {
        let kind = discriminant(&reason);
        let search = match self.resolving.take() {
            Some(search) if search.0 == kind => search,
            _ => (kind, Box::pin(self.resolver(monitor).run(reason)) as Search),
        };
        let (_, search) = self.resolving.insert(search);
        let resolved = search.await;
        self.resolving = None;
        self.just_registered = !matches!(&resolved, Ok(resolved) if !resolved.registered);
        if self.just_registered {
            self.pace.failed();
            self.not_before = crate::poll::after(self.wait());
        }
        Ok(self.assignment.insert(resolved?.assignment).clone())
    }

    /// Discards an interrupted search.
    pub(super) fn cancel(&mut self) {
        self.resolving = None;
    }

    /// Removes the assignment, also from the store.
    pub(super) async fn forget(&mut self) -> Result<(), Error> {
        self.cancel();
        self.assignment = None;
        in_time(self.store.clear()).await.map_err(|error| {
            Error::configuration("the assignment may still be in the store").with_source(error)
        })
    }

    /// The hub accepted the device.
    pub(super) fn succeeded(&mut self) {
        self.just_registered = false;
        self.pace.succeeded();
    }

    /// The time until the next registration may start.
    pub(super) fn pause(&self) -> Duration {
        self.not_before.saturating_duration_since(Instant::now())
    }

    pub(super) fn endpoint(&self, assignment: &CachedAssignment) -> HubEndpoint {
        let (hub, device_id) = (assignment.hub(), assignment.device_id());
        let endpoint = self.client.hub_at(hub.clone(), device_id.clone());
        let profile = assignment.connection_profile().cloned();
        self.with_credentials((self.configure)(endpoint.with_profile(profile)))
    }

    /// The endpoint with the newest certificate, if the device has certificates.
    pub(super) fn with_credentials(&self, endpoint: HubEndpoint) -> HubEndpoint {
        #[cfg(feature = "certificates")]
        if let Some(keeper) = &self.certificates
            && let Some(credentials) = keeper.credentials()
        {
            let renews_here = keeper.options.place == RenewalPlace::Hub;
            return endpoint.with_credentials(credentials, renews_here);
        }
        endpoint
    }

    /// True if the device has certificates and none of them is valid: it has to register.
    pub(super) fn needs_certificate(&self) -> bool {
        #[cfg(feature = "certificates")]
        if let Some(keeper) = &self.certificates {
            return keeper.credentials().is_none();
        }
        false
    }

    fn wait(&self) -> Duration {
        let wait = self
            .pace
            .wait(None, self.client.draws.next(), Duration::MAX);
        wait.unwrap_or_default()
    }

    fn resolver(&self, monitor: &Monitor) -> Resolver {
        Resolver {
            client: self.client.clone(),
            store: Arc::clone(&self.store),
            payload: self.payload.clone(),
            not_before: self.not_before,
            monitor: monitor.clone(),
            #[cfg(feature = "certificates")]
            certificates: self.certificates.clone(),
        }
    }
}
