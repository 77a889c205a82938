//! A device that finds its hub, stores the assignment, and finds its next hub when it has to.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::assignment_store::AssignmentStore;
use super::cached_assignment::CachedAssignment;
use super::connection::HubConnection;
use super::endpoint::HubEndpoint;
use super::monitor::{DeviceEvents, DeviceState, Monitor};
use super::request::{GetTwin, NextUpdate, PatchReported, Request, TwinUpdate};
use super::resolve::{Reason, Resolved, Resolver, in_time};
use super::twin::Twin;
use crate::client::ProvisioningClient;
use crate::error::{Error, ErrorKind};
use crate::poll::{Pace, draw};

/// A device for years of operation: it registers once, uses the hub that it has stored, and registers again when that hub no
/// longer accepts it.
///
/// It follows Microsoft's recommendations for fleets:
///
/// * At boot it connects to the hub in its [store](AssignmentStore) without asking DPS, so a device that boots while DPS is down
///   reaches its hub. It registers if the store has no assignment, or one for another device.
/// * If the hub refuses it (401, 403, 404, or a refused MQTT connection), it registers again and connects to the hub that DPS
///   returns.
/// * If the hub is unreachable or fails (5xx), it retries with growing, random waits for
///   [15 to 30 minutes](Self::with_outage_timeout), a random time. Then it asks DPS for its current assignment if the transport
///   has a [lookup](ProvisioningClient::lookup), and registers if that is the same hub. While DPS is unreachable as well, it
///   stays with its hub.
/// * It never registers in a tight loop: there is a wait between two registrations, which grows while no hub accepts the device.
///
/// Nothing happens unless a method is awaited. Dropping a future of [`next`](Self::next) or [`twin`](Self::twin) loses nothing:
/// even a registration in progress goes on with the next call. Dropping the device closes its connection.
///
/// Failures are logged at `warn` with all their causes: the first one, and then one a minute. [`events`](Self::events) reports
/// each of them to the program.
///
/// Source: azure-docs `iot-dps/concepts-deploy-at-scale.md`.
///
/// # Errors
/// All methods return the errors of a registration and those of [`HubConnection`]: [`ErrorKind::Deadline`] if neither a hub nor
/// DPS could be reached within the times above, [`ErrorKind::Unauthorized`] if even the hub that DPS has just assigned refuses
/// the device. After an error the next call tries again.
pub struct ProvisionedDevice {
    client: ProvisioningClient,
    store: Arc<dyn AssignmentStore>,
    configure: Box<dyn Fn(HubEndpoint) -> HubEndpoint + Send + Sync>,
    payload: Option<Value>,
    outage_timeout: RangeInclusive<Duration>,
    assignment: Option<CachedAssignment>,
    /// A search for the hub, kept here so that it goes on if the caller's future is dropped.
    resolving: Option<BoxFuture<'static, Result<Resolved, Error>>>,
    connection: Option<HubConnection>,
    /// A registration has just ended, and no hub has accepted the device since.
    just_registered: bool,
    /// How fast the device may register.
    pace: Pace,
    not_before: Instant,
    monitor: Monitor,
}

impl ProvisionedDevice {
    /// How long the device retries a hub that is unreachable, by default: a random time in this range.
    pub const DEFAULT_OUTAGE_TIMEOUT: RangeInclusive<Duration> =
        Duration::from_secs(15 * 60)..=Duration::from_secs(30 * 60);

    /// A device that registers with this client and keeps its assignment in this store.
    pub fn new(client: ProvisioningClient, store: impl AssignmentStore + 'static) -> Self {
        Self {
            pace: Pace::new(client.min_poll_interval),
            not_before: Instant::now(),
            client,
            store: Arc::new(store),
            configure: Box::new(|hub| hub),
            payload: None,
            outage_timeout: Self::DEFAULT_OUTAGE_TIMEOUT,
            assignment: None,
            resolving: None,
            connection: None,
            just_registered: false,
            monitor: Monitor::new(),
        }
    }

    /// Applies these settings to every hub: transport, model id, jitter. The timeout is set by
    /// [`with_outage_timeout`](Self::with_outage_timeout).
    #[must_use]
    pub fn with_hub(
        mut self,
        configure: impl Fn(HubEndpoint) -> HubEndpoint + Send + Sync + 'static,
    ) -> Self {
        self.configure = Box::new(configure);
        self
    }

    /// Sends this payload with every registration: see [`Register::payload`](crate::Register::payload).
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Value>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Sets how long the device retries a hub that is unreachable before it asks DPS: a random time in this range. The default
    /// is [`DEFAULT_OUTAGE_TIMEOUT`](Self::DEFAULT_OUTAGE_TIMEOUT).
    #[must_use]
    pub fn with_outage_timeout(mut self, range: RangeInclusive<Duration>) -> Self {
        self.outage_timeout = range;
        self
    }

    /// The current assignment, with the payload of the custom allocation webhook. `None` before the device has found its hub.
    pub fn assignment(&self) -> Option<&CachedAssignment> {
        self.assignment.as_ref()
    }

    /// The current state. It changes only while a method is awaited.
    pub fn state(&self) -> DeviceState {
        self.monitor.state()
    }

    /// The events of this device from now on. Each reader receives all events.
    pub fn events(&self) -> DeviceEvents {
        self.monitor.events()
    }

    /// The hub with the device's credentials, for another MQTT client: from the store, or from a registration if the store has
    /// no assignment. Call [`reprovision`](Self::reprovision) if the hub refuses the device.
    ///
    /// # Errors
    /// See [`ProvisionedDevice`].
    pub async fn hub(&mut self) -> Result<HubEndpoint, Error> {
        Ok(self.connection().await?.hub().clone())
    }

    /// Downloads the twin: see [`HubConnection::twin`].
    ///
    /// # Errors
    /// See [`ProvisionedDevice`].
    pub async fn twin(&mut self) -> Result<Twin, Error> {
        self.perform(&GetTwin).await
    }

    /// Patches the reported properties: see [`HubConnection::report`].
    ///
    /// # Errors
    /// See [`ProvisionedDevice`] and [`HubConnection::report`].
    pub async fn report(&mut self, patch: impl Serialize) -> Result<u64, Error> {
        let request = PatchReported::new(patch)?;
        self.perform(&request).await
    }

    /// Waits for the next change of the desired properties: see [`HubConnection::next`]. After a move to another hub the next
    /// item is the whole twin.
    ///
    /// # Errors
    /// See [`ProvisionedDevice`].
    pub async fn next(&mut self) -> Result<TwinUpdate, Error> {
        self.perform(&NextUpdate).await
    }

    /// Registers again and uses the hub that DPS returns. Call it when the operator requests it, for example by a desired
    /// property.
    ///
    /// # Errors
    /// See [`ProvisionedDevice`].
    pub async fn reprovision(&mut self) -> Result<(), Error> {
        self.start_resolving(Reason::Reprovision);
        self.connection().await.map(drop)
    }

    /// Removes the assignment, also from the store. The device registers when it is used next.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] if the assignment may still be in the store.
    pub async fn forget(&mut self) -> Result<(), Error> {
        self.connection = None;
        self.resolving = None;
        self.assignment = None;
        self.monitor.disconnected();
        in_time(self.store.clear()).await.map_err(|error| {
            Error::configuration("the assignment may still be in the store").with_source(error)
        })
    }

    /// Sends a request to the hub. If that hub no longer accepts the device, finds the next hub once.
    async fn perform<R: Request>(&mut self, request: &R) -> Result<R::Response, Error> {
        let mut has_moved = false;
        loop {
            match self.connection().await?.perform(request).await {
                Ok(response) => {
                    self.just_registered = false;
                    self.pace.succeeded();
                    return Ok(response);
                }
                Err(error) => self.on_failure(error, &mut has_moved)?,
            }
        }
    }

    /// Decides whether to look for another hub. In one call it does so once, and not right after a registration.
    fn on_failure(&mut self, error: Error, has_moved: &mut bool) -> Result<(), Error> {
        let reason = match (error.kind(), &self.assignment) {
            (ErrorKind::Unauthorized | ErrorKind::NotFound, _) => Reason::Reprovision,
            (ErrorKind::Deadline, Some(assignment)) => Reason::Outage(assignment.clone()),
            _ => return Err(error),
        };
        if *has_moved || self.just_registered {
            self.just_registered = false;
            return Err(error);
        }
        *has_moved = true;
        self.start_resolving(reason);
        Ok(())
    }

    /// The connection to the hub, after the hub was found. Its first request opens it.
    async fn connection(&mut self) -> Result<&mut HubConnection, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let assignment = self.resolve().await?;
                HubConnection::new(self.endpoint(&assignment), self.monitor.clone())
            }
        };
        Ok(self.connection.insert(connection))
    }

    async fn resolve(&mut self) -> Result<CachedAssignment, Error> {
        let resolving = match self.resolving.take() {
            Some(resolving) => resolving,
            None => self.resolver(Reason::Start),
        };
        let resolved = self.resolving.insert(resolving).await;
        self.resolving = None;
        self.just_registered = !matches!(&resolved, Ok(resolved) if !resolved.registered);
        if self.just_registered {
            self.pace.failed();
            let wait = self.pace.wait(None, draw(), Duration::MAX);
            self.not_before = Instant::now() + wait.unwrap_or_default();
        }
        match resolved {
            Ok(resolved) => Ok(self.assignment.insert(resolved.assignment).clone()),
            Err(error) => {
                self.monitor
                    .gave_up("the device could not be registered", &error);
                Err(error)
            }
        }
    }

    fn endpoint(&self, assignment: &CachedAssignment) -> HubEndpoint {
        let (hub, device_id) = (assignment.hub(), assignment.device_id());
        let (least, most) = (*self.outage_timeout.start(), *self.outage_timeout.end());
        let timeout = least + most.saturating_sub(least).mul_f64(draw());
        let endpoint = self.client.hub_at(hub.clone(), device_id.clone());
        let endpoint = endpoint.with_profile(assignment.connection_profile().cloned());
        (self.configure)(endpoint).with_timeout(timeout)
    }

    fn start_resolving(&mut self, reason: Reason) {
        self.connection = None;
        self.monitor.disconnected();
        self.resolving = Some(self.resolver(reason));
    }

    fn resolver(&self, reason: Reason) -> BoxFuture<'static, Result<Resolved, Error>> {
        let resolver = Resolver {
            client: self.client.clone(),
            store: Arc::clone(&self.store),
            payload: self.payload.clone(),
            not_before: self.not_before,
            monitor: self.monitor.clone(),
        };
        Box::pin(resolver.run(reason))
    }
}

impl fmt::Debug for ProvisionedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the payload, which may be confidential.
        f.debug_struct("ProvisionedDevice")
            .field("client", &self.client)
            .field("store", &self.store)
            .field("assignment", &self.assignment)
            .field("state", &self.state())
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
