//! A device that finds its hub, stores the assignment, and finds its next hub when it has to.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::assignment_store::AssignmentStore;
use super::cached_assignment::CachedAssignment;
use super::driver;
use super::endpoint::HubEndpoint;
use super::finder::{DpsFinder, Finder};
use super::handle::DeviceHandle;
use super::monitor::Monitor;
use super::options::ConnectOptions;
use super::resolve::Reason;
use super::stream::DeviceEvents;
#[cfg(feature = "certificates")]
use crate::certificate::{CertificateOptions, keeper::Keeper};
use crate::client::ProvisioningClient;
use crate::error::Error;

/// A device for years of operation: it registers once, uses the hub that it has stored, and registers again when that hub no
/// longer accepts it.
///
/// It follows Microsoft's recommendations for fleets:
///
/// * At boot it connects to the hub in its [store](AssignmentStore) without asking DPS, so a device that boots while DPS is down
///   reaches its hub. It registers if the store has no assignment, or one for another device.
/// * A [`Recovery`](crate::Recovery) sets its actions when the hub refuses it or is unreachable.
/// * It never registers in a tight loop: there is a wait between two registrations, which grows while no hub accepts the device.
///
/// [`connect`](Self::connect) returns the connection. [`hub`](Self::hub) is for programs with another MQTT client.
///
/// ```no_run
/// # async fn run(client: dps_device::ProvisioningClient) -> Result<(), dps_device::Error> {
/// use dps_device::{AssignmentFile, DeviceEvent, Message, ProvisionedDevice};
/// use serde_json::json;
///
/// let store = AssignmentFile::new("/var/lib/toaster/assignment.json");
/// let (handle, mut events) = ProvisionedDevice::new(client, store).connect();
/// tokio::spawn(async move {
///     while let Some(event) = events.next().await {
///         if let DeviceEvent::Method(method) = event {
///             let _ = method.respond(200, json!({"done": true}));
///         }
///     }
/// });
/// handle.report(json!({"firmware": "1.2.3"})).await?;
/// handle.send(Message::json(&json!({"temperature": 21.5}))?).await?;
/// # Ok(())
/// # }
/// ```
///
/// Source: azure-docs `iot-dps/concepts-deploy-at-scale.md`.
pub struct ProvisionedDevice {
    finder: Box<DpsFinder>,
    options: ConnectOptions,
    monitor: Monitor,
}

impl ProvisionedDevice {
    /// A device that registers with this client and keeps its assignment in this store.
    pub fn new(client: ProvisioningClient, store: impl AssignmentStore + 'static) -> Self {
        Self {
            finder: Box::new(DpsFinder::new(client, Arc::new(store))),
            options: ConnectOptions::new(),
            monitor: Monitor::new(),
        }
    }

    /// Applies these settings to every hub: transport, model id, jitter.
    #[must_use]
    pub fn with_hub(
        mut self,
        configure: impl Fn(HubEndpoint) -> HubEndpoint + Send + Sync + 'static,
    ) -> Self {
        self.finder.configure = Box::new(configure);
        self
    }

    /// Sends this payload with every registration: see [`Register::payload`](crate::Register::payload).
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Value>) -> Self {
        self.finder.payload = Some(payload.into());
        self
    }

    /// Connects to the hub with certificates that DPS issues, and renews them. The enrollment must name a certificate authority
    /// and a policy.
    #[cfg(feature = "certificates")]
    #[must_use]
    pub fn with_certificates(mut self, options: CertificateOptions) -> Self {
        let target = &self.finder.client.target;
        let (id, clock) = (
            target.registration_id().clone(),
            target.endpoint.clock.clone(),
        );
        self.finder.certificates = Some(Arc::new(Keeper::new(options, id, clock)));
        self
    }

    /// Sets the options of the connection: the message queue, the recovery, and what the device receives.
    #[must_use]
    pub fn with_options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// Connects to the hub: see [`HubEndpoint::connect`]. The device finds its hub while the events are polled.
    pub fn connect(self) -> (DeviceHandle, DeviceEvents) {
        driver::start(Finder::Dps(self.finder), self.options, self.monitor)
    }

    /// The assignment that [`hub`](Self::hub) found, with the payload of the custom allocation webhook.
    pub fn assignment(&self) -> Option<&CachedAssignment> {
        self.finder.assignment.as_ref()
    }

    /// The hub with the device's credentials, for another MQTT client: from the store, or from a registration if the store has
    /// no assignment. Call [`reprovision`](Self::reprovision) if the hub refuses the device.
    ///
    /// Dropping the future loses nothing: a registration in progress continues with the next call.
    ///
    /// # Errors
    /// Those of a registration.
    pub async fn hub(&mut self) -> Result<HubEndpoint, Error> {
        let assignment = match &self.finder.assignment {
            Some(assignment) => assignment.clone(),
            None => self.find(Reason::Start).await?,
        };
        Ok(self.finder.endpoint(&assignment))
    }

    /// Registers again. [`hub`](Self::hub) then returns the hub that DPS has returned.
    ///
    /// # Errors
    /// Those of a registration.
    pub async fn reprovision(&mut self) -> Result<(), Error> {
        self.find(Reason::Reprovision).await.map(drop)
    }

    /// Removes the assignment, also from the store. The device registers when it is used next.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the assignment may still be in the store.
    pub async fn forget(&mut self) -> Result<(), Error> {
        self.finder.forget().await
    }

    async fn find(&mut self, reason: Reason) -> Result<CachedAssignment, Error> {
        let found = self.finder.find(reason, &self.monitor).await;
        if let Err(error) = &found {
            let what = "the device could not be registered";
            self.monitor.gave_up(what, error);
        }
        found
    }
}

impl fmt::Debug for ProvisionedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the payload, which may be confidential.
        f.debug_struct("ProvisionedDevice")
            .field("client", &self.finder.client)
            .field("store", &self.finder.store)
            .field("assignment", &self.finder.assignment)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
