//! A device that finds its hub, remembers it, and finds the next one when it has to.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::warn;

use super::Work;
use super::cached::{AssignmentStore, CachedAssignment};
use super::connection::{HubConnection, TwinUpdate, encode};
use super::search::{Found, Reason, Search};
use super::settings::HubEndpoint;
use super::twin::Twin;
use crate::client::ProvisioningClient;
use crate::error::{Error, ErrorKind};
use crate::poll::{Pace, draw};

/// A device for years: DPS once, then the hub that it remembers, and DPS again when that hub does not want it any more.
///
/// It does what Microsoft recommends for fleets:
///
/// * At boot it connects to the hub that is in its [store](AssignmentStore), without asking DPS: a device that boots while DPS
///   is down reaches its hub. It registers where there is none, or one for another device.
/// * When the hub refuses it (401, 403, 404, or the MQTT connection) it registers again, and goes where it is sent.
/// * When the hub is out of reach or fails (5xx) it stays with it for [15 to 30 minutes](Self::with_patience), a random time,
///   and tries again with growing, random waits. Then it asks DPS what it knows, where the transport has a
///   [lookup](ProvisioningClient::lookup), and registers if that is nothing new. While DPS is out of reach too, it stays.
/// * It never registers in a loop: there is a wait between two registrations, which grows while no hub takes the device.
///
/// Nothing goes on unless a method is awaited, and dropping a future of [`next`](Self::next) or [`twin`](Self::twin) loses
/// nothing, a registration in progress neither. Dropping the device closes its connection.
///
/// Source: azure-docs `iot-dps/concepts-deploy-at-scale.md`.
///
/// # Errors
/// All methods give what a registration gives, and what [`HubConnection`] gives: [`ErrorKind::Deadline`] when there is no
/// getting through to a hub or to DPS for as long as said above, [`ErrorKind::Unauthorized`] when even the hub that the
/// device was just assigned to refuses it. After an error the next call goes on.
pub struct ProvisionedDevice {
    client: ProvisioningClient,
    store: Arc<dyn AssignmentStore>,
    settings: Box<dyn Fn(HubEndpoint) -> HubEndpoint + Send + Sync>,
    payload: Option<Value>,
    patience: RangeInclusive<Duration>,
    home: Option<CachedAssignment>,
    search: Option<Work<Found>>,
    connection: Option<HubConnection>,
    /// A registration has just led to the hub, or to nothing.
    is_new: bool,
    /// How often we may register.
    pace: Pace,
    not_before: Instant,
}

impl ProvisionedDevice {
    /// How long it stays with a hub that is out of reach, unless it is told otherwise.
    pub const DEFAULT_PATIENCE: RangeInclusive<Duration> =
        Duration::from_secs(15 * 60)..=Duration::from_secs(30 * 60);

    /// A device that registers with this client, and remembers its hub in this store.
    pub fn new(client: ProvisioningClient, store: impl AssignmentStore + 'static) -> Self {
        Self {
            pace: Pace::new(client.min_poll_interval),
            not_before: Instant::now(),
            client,
            store: Arc::new(store),
            settings: Box::new(|hub| hub),
            payload: None,
            patience: Self::DEFAULT_PATIENCE,
            home: None,
            search: None,
            connection: None,
            is_new: false,
        }
    }

    /// How to reach a hub, whichever it is: carrier, model, jitter. The deadline is that of
    /// [`with_patience`](Self::with_patience).
    #[must_use]
    pub fn with_hub(
        mut self,
        settings: impl Fn(HubEndpoint) -> HubEndpoint + Send + Sync + 'static,
    ) -> Self {
        self.settings = Box::new(settings);
        self
    }

    /// Sends this along with every registration: see [`Register::payload`](crate::Register::payload).
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Value>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// How long it stays with a hub that is out of reach: a random time out of these. The default is
    /// [`DEFAULT_PATIENCE`](Self::DEFAULT_PATIENCE).
    #[must_use]
    pub fn with_patience(mut self, times: RangeInclusive<Duration>) -> Self {
        self.patience = times;
        self
    }

    /// Where the device belongs, as far as it knows by now.
    pub fn assignment(&self) -> Option<&CachedAssignment> {
        self.home.as_ref()
    }

    /// The hub with the device's credentials, for another MQTT client: from the store, or from a registration where there is
    /// none. Call [`reprovision`](Self::reprovision) when it refuses the device.
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
        let mut moved = false;
        loop {
            match self.connection().await?.twin().await {
                Ok(twin) => return Ok(self.welcomed(twin)),
                Err(error) => self.leave(error, &mut moved)?,
            }
        }
    }

    /// Patches the reported properties: see [`HubConnection::report`].
    ///
    /// # Errors
    /// See [`ProvisionedDevice`], and [`HubConnection::report`].
    pub async fn report(&mut self, patch: impl Serialize) -> Result<u64, Error> {
        let patch = encode(patch)?;
        let mut moved = false;
        loop {
            match self.connection().await?.report_json(&patch).await {
                Ok(version) => return Ok(self.welcomed(version)),
                Err(error) => self.leave(error, &mut moved)?,
            }
        }
    }

    /// The next change of the desired properties: see [`HubConnection::next`]. After a move to another hub it is the whole
    /// twin.
    ///
    /// # Errors
    /// See [`ProvisionedDevice`].
    pub async fn next(&mut self) -> Result<TwinUpdate, Error> {
        let mut moved = false;
        loop {
            match self.connection().await?.next().await {
                Ok(update) => return Ok(self.welcomed(update)),
                Err(error) => self.leave(error, &mut moved)?,
            }
        }
    }

    /// Registers again, and goes where DPS sends the device, since the operator wants it: by a desired property, say.
    ///
    /// # Errors
    /// See [`ProvisionedDevice`].
    pub async fn reprovision(&mut self) -> Result<(), Error> {
        self.look_for_home(Reason::Anew);
        self.connection().await.map(drop)
    }

    /// Forgets where the device belongs, in the store too: it registers when it is used next.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when the store cannot forget.
    pub async fn forget(&mut self) -> Result<(), Error> {
        self.connection = None;
        self.search = None;
        self.home = None;
        self.store.clear().await.map_err(|error| {
            Error::configuration("the assignment may still be in the store").with_source(error)
        })
    }

    /// The connection to the hub, once it is known which. It may have to dial yet.
    async fn connection(&mut self) -> Result<&mut HubConnection, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let home = self.find_home().await?;
                HubConnection::new(self.reach(&home))
            }
        };
        Ok(self.connection.insert(connection))
    }

    async fn find_home(&mut self) -> Result<CachedAssignment, Error> {
        let search = match self.search.take() {
            Some(search) => search,
            None => self.search(Reason::Start),
        };
        let found = self.search.insert(search).await;
        self.search = None;
        self.is_new = !matches!(found, Ok((_, false)));
        if self.is_new {
            self.pace.failed();
            let wait = self.pace.wait(None, draw(), Duration::MAX);
            self.not_before = Instant::now() + wait.unwrap_or_default();
        }
        let (home, _) = found?;
        Ok(self.home.insert(home).clone())
    }

    fn reach(&self, home: &CachedAssignment) -> HubEndpoint {
        let hub = home.hub().clone();
        let (least, most) = (*self.patience.start(), *self.patience.end());
        let patience = least + most.saturating_sub(least).mul_f64(draw());
        (self.settings)(self.client.hub_at(hub, home.device_id().clone())).with_timeout(patience)
    }

    /// The hub has taken the device.
    fn welcomed<T>(&mut self, answer: T) -> T {
        self.is_new = false;
        self.pace.succeeded();
        answer
    }

    /// What to do about a hub that does not work: once in a call there is another to be found.
    fn leave(&mut self, error: Error, moved: &mut bool) -> Result<(), Error> {
        let reason = match (error.kind(), &self.home) {
            (ErrorKind::Unauthorized | ErrorKind::NotFound, _) => Reason::Anew,
            (ErrorKind::Deadline, Some(home)) => Reason::Outage(home.clone()),
            _ => return Err(error),
        };
        if *moved || self.is_new {
            // The next call may look again.
            self.is_new = false;
            return Err(error);
        }
        *moved = true;
        warn!(%error, "the hub does not work out");
        self.look_for_home(reason);
        Ok(())
    }

    fn look_for_home(&mut self, reason: Reason) {
        self.connection = None;
        self.search = Some(self.search(reason));
    }

    fn search(&self, reason: Reason) -> Work<Found> {
        let search = Search {
            client: self.client.clone(),
            store: Arc::clone(&self.store),
            payload: self.payload.clone(),
            not_before: self.not_before,
        };
        Box::pin(search.run(reason))
    }
}

impl fmt::Debug for ProvisionedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the device tells the webhook is its own business.
        f.debug_struct("ProvisionedDevice")
            .field("client", &self.client)
            .field("assignment", &self.home)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
