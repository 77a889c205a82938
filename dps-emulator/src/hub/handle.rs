//! A hub for tests and operators in the same process: look at devices and twins, change them, see who is connected.

use std::sync::Arc;

use dps_types::enrollment::TwinCollection;
use dps_types::{DeviceId, HubHostname};
use serde_json::Value;
use zeroize::Zeroizing;

use super::device::Device;
use super::{Hubs, TwinPatch, key};
use crate::error::{Error, ErrorKind};
use crate::service_error::ServiceError;

/// A linked hub of a running [`Emulator`](crate::Emulator): its registry and its twins.
///
/// ```
/// use dps_emulator::Emulator;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dps_emulator::Error> {
/// let dps = Emulator::builder().link_hub("toasters").start().await?;
/// let toasters = dps.hub("toasters").expect("linked");
/// // … a device is provisioned, and connects …
/// assert!(toasters.device("toaster-7").await?.is_none());
/// assert_eq!(toasters.telemetry_count("toaster-7"), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HubHandle {
    hubs: Arc<Hubs>,
    hostname: HubHostname,
}

/// A device in a hub, as it was when it was looked up.
#[derive(Debug, Clone)]
pub struct HubDevice(Device);

impl HubHandle {
    pub(crate) fn new(hubs: Arc<Hubs>, name: &str) -> Option<Self> {
        let hostname = hubs.linked(name)?.clone();
        Some(Self { hubs, hostname })
    }

    /// Its name.
    pub fn hostname(&self) -> &HubHostname {
        &self.hostname
    }

    /// What a client of the hub's REST API needs, such as `azure-iot-hub` for Python. It holds the key of the policy
    /// `iothubowner`, which is this hub's own: a secret, wiped when dropped. All hubs are at the same host and port; the
    /// key says which one is meant.
    pub fn connection_string(&self) -> Zeroizing<String> {
        let linked = &self.hubs.linked;
        let this = linked.iter().find(|hub| hub.hostname == self.hostname);
        this.map(|hub| hub.connection.reveal()).unwrap_or_default()
    }

    /// A device, `None` when it is not registered here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn device(&self, device_id: &str) -> Result<Option<HubDevice>, Error> {
        let Ok(id) = DeviceId::new(device_id) else {
            return Ok(None);
        };
        let found = self.hubs.device(&self.hostname, &id).await?;
        Ok(found.map(|(device, _)| HubDevice(device)))
    }

    /// All devices, in the order of their ids.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn devices(&self) -> Result<Vec<HubDevice>, Error> {
        let devices = self.hubs.devices(&self.hostname, usize::MAX).await?;
        Ok(devices.into_iter().map(HubDevice).collect())
    }

    /// The twin as the hub's REST API shows it, with tags and `$metadata`.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`], and when the store fails.
    pub async fn twin(&self, device_id: &str) -> Result<Value, Error> {
        let view = self.hubs.twin(&self.hostname, &id(device_id)?).await?;
        Ok(view.document)
    }

    /// Patches the desired properties: a `null` deletes. A device that is connected hears of it.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`], [`ErrorKind::InvalidTwin`] when the patch is no object or breaks a limit of twins,
    /// and when the store fails.
    pub async fn update_desired(
        &self,
        device_id: &str,
        patch: impl Into<Value>,
    ) -> Result<(), Error> {
        let patch = TwinPatch::of_desired(patch.into());
        self.patch(device_id, patch).await
    }

    /// Patches tags and desired properties: `{"tags": {…}, "properties": {"desired": {…}}}`.
    ///
    /// # Errors
    /// As [`update_desired`](Self::update_desired).
    pub async fn update_twin(&self, device_id: &str, patch: impl Into<Value>) -> Result<(), Error> {
        let patch = TwinPatch::read(&patch.into()).map_err(ServiceError::from)?;
        self.patch(device_id, patch).await
    }

    /// Lets the device connect, or not. One that may not is disconnected.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`], and when the store fails.
    pub async fn set_enabled(&self, device_id: &str, enabled: bool) -> Result<(), Error> {
        let id = id(device_id)?;
        self.hubs.set_enabled(&self.hostname, &id, enabled).await?;
        Ok(())
    }

    /// Removes a device, with its twin. It is disconnected.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`], and when the store fails.
    pub async fn remove(&self, device_id: &str) -> Result<(), Error> {
        let id = id(device_id)?;
        self.hubs.remove(&self.hostname, &id, None).await?;
        Ok(())
    }

    /// How many telemetry messages the device has sent since the emulator started.
    pub fn telemetry_count(&self, device_id: &str) -> u64 {
        self.key(device_id)
            .map_or(0, |key| self.hubs.live.telemetry(&key))
    }

    /// Whether the device is connected now.
    pub fn is_connected(&self, device_id: &str) -> bool {
        self.key(device_id)
            .is_some_and(|key| self.hubs.live.is_connected(&key))
    }

    /// Closes the device's connection; false when it has none.
    pub fn disconnect(&self, device_id: &str) -> bool {
        self.key(device_id)
            .is_some_and(|key| self.hubs.live.end(&key))
    }

    async fn patch(&self, device_id: &str, patch: TwinPatch) -> Result<(), Error> {
        let id = id(device_id)?;
        self.hubs
            .update_twin(&self.hostname, &id, &patch, false, None)
            .await?;
        Ok(())
    }

    fn key(&self, device_id: &str) -> Option<String> {
        let id = DeviceId::new(device_id).ok()?;
        Some(key(&self.hostname, &id))
    }
}

impl HubDevice {
    /// Its name in the hub.
    pub fn device_id(&self) -> &DeviceId {
        &self.0.device_id
    }

    /// Whether it may connect.
    pub fn is_enabled(&self) -> bool {
        self.0.enabled
    }

    /// Whether it is an IoT Edge device.
    pub fn is_iot_edge(&self) -> bool {
        self.0.iot_edge
    }

    /// The tags of its twin.
    pub fn tags(&self) -> TwinCollection {
        self.0.twin.tags.clone().into()
    }

    /// The desired properties, without `$version` and `$metadata`.
    pub fn desired(&self) -> TwinCollection {
        self.0.twin.desired.values.clone().into()
    }

    /// The `$version` of the desired properties.
    pub fn desired_version(&self) -> u64 {
        self.0.twin.desired.version
    }

    /// The reported properties, without `$version` and `$metadata`.
    pub fn reported(&self) -> TwinCollection {
        self.0.twin.reported.values.clone().into()
    }

    /// The `$version` of the reported properties.
    pub fn reported_version(&self) -> u64 {
        self.0.twin.reported.version
    }
}

fn id(text: &str) -> Result<DeviceId, Error> {
    DeviceId::new(text).map_err(|error| {
        Error::new(ErrorKind::DeviceNotFound, "no device can have this id").because(error)
    })
}

impl From<ServiceError> for Error {
    /// A hub refuses.
    fn from(refusal: ServiceError) -> Self {
        let kind = match refusal.status() {
            404 => ErrorKind::DeviceNotFound,
            400 | 413 => ErrorKind::InvalidTwin,
            _ => ErrorKind::Store,
        };
        Self::new(kind, refusal.message())
    }
}
