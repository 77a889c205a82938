//! Access to a linked hub for tests in the same process: reads and changes devices and twins, and reports connections.

use std::path::PathBuf;
use std::sync::Arc;

use dps_types::enrollment::TwinCollection;
use dps_types::{DeviceId, HubHostname};
use serde_json::Value;
use zeroize::Zeroizing;

use super::blob_name::BlobName;
use super::device::Device;
use super::{
    CloudToDeviceMessage, DirectMethod, Hubs, Identity, MessageFeedback, MethodResponse,
    TelemetryMessage, TelemetryStream, TwinPatch,
};
use crate::error::{Error, ErrorKind};
use crate::service_error::ServiceError;

/// A linked hub of a running [`Emulator`](crate::Emulator): its devices, their twins and their messages.
///
/// A `device_id` is the id of a device, or `{deviceId}/{moduleId}` for one of its modules.
///
/// ```
/// use dps_emulator::{Emulator, LinkedHub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dps = Emulator::builder().link_hub("toasters".parse::<LinkedHub>()?).start().await?;
/// let toasters = dps.hub("toasters").expect("linked");
/// // … a device is provisioned and connects …
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

/// A snapshot of a device in a hub.
#[derive(Debug, Clone)]
pub struct HubDevice(Device);

impl HubHandle {
    pub(crate) fn new(hubs: Arc<Hubs>, name: &str) -> Option<Self> {
        let hostname = hubs.linked(name)?;
        Some(Self { hubs, hostname })
    }

    /// The host name of the hub.
    pub fn hostname(&self) -> &HubHostname {
        &self.hostname
    }

    /// The connection string for a client of the hub's REST API, for example `azure-iot-hub` for Python. It contains the key
    /// of the policy `iothubowner` of this hub and is wiped when it is dropped. All hubs have the same host and port; the
    /// emulator identifies the hub by the key.
    pub fn connection_string(&self) -> Zeroizing<String> {
        let linked = self.hubs.linked.get();
        let this = linked.iter().find(|hub| hub.hostname == self.hostname);
        this.map(|hub| hub.connection.reveal()).unwrap_or_default()
    }

    /// Looks up a device; `None` if the hub has no such device.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn device(&self, device_id: &str) -> Result<Option<HubDevice>, Error> {
        let Ok(identity) = self.identity(device_id) else {
            return Ok(None);
        };
        let found = self.hubs.device(&identity).await?;
        Ok(found.map(|(device, _)| HubDevice(device)))
    }

    /// Lists all devices in order of their ids.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn devices(&self) -> Result<Vec<HubDevice>, Error> {
        let devices = self.hubs.devices(&self.hostname, usize::MAX).await?;
        Ok(devices.into_iter().map(HubDevice).collect())
    }

    /// The twin as the hub's REST API returns it, with tags and `$metadata`.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`], and if the store fails.
    pub async fn twin(&self, device_id: &str) -> Result<Value, Error> {
        let view = self.hubs.twin(&self.identity(device_id)?).await?;
        Ok(view.document)
    }

    /// Patches the desired properties; a `null` deletes a property. The hub sends the change to the device if it is connected.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`], [`ErrorKind::InvalidTwin`] if the patch is not an object or the twin would exceed a
    /// limit of IoT Hub, and if the store fails.
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

    /// Enables or disables the device. A device that is disabled is disconnected and cannot connect.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`], and if the store fails.
    pub async fn set_enabled(&self, device_id: &str, enabled: bool) -> Result<(), Error> {
        let identity = self.identity(device_id)?;
        self.hubs.set_enabled(&identity, enabled).await?;
        Ok(())
    }

    /// Removes a device and its twin, and disconnects it.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`], and if the store fails.
    pub async fn remove(&self, device_id: &str) -> Result<(), Error> {
        let identity = self.identity(device_id)?;
        self.hubs.remove(&identity, None).await?;
        Ok(())
    }

    /// Invokes a direct method on a device or module, and waits for the response.
    ///
    /// ```no_run
    /// # async fn example(hub: dps_emulator::HubHandle) -> Result<(), dps_emulator::Error> {
    /// use dps_emulator::DirectMethod;
    ///
    /// let reboot = DirectMethod::new("reboot").payload(serde_json::json!({ "delay": 5 }));
    /// let response = hub.invoke_method("toaster-7", &reboot).await?;
    /// assert_eq!(response.status, 200);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`]; [`ErrorKind::DeviceNotOnline`] if the device is not connected, has not subscribed to
    /// methods, or disconnects before it responds; [`ErrorKind::Timeout`] if it does not respond in time;
    /// [`ErrorKind::InvalidMessage`] if the name is empty or too long, or the payload exceeds 128 KiB.
    pub async fn invoke_method(
        &self,
        device_id: &str,
        method: &DirectMethod,
    ) -> Result<MethodResponse, Error> {
        let identity = self.identity(device_id)?;
        let response = self.hubs.invoke(&identity, method).await;
        response.map_err(not_delivered)
    }

    /// Sends a cloud-to-device message: adds it to the queue of the device, which receives it now or when it connects.
    ///
    /// The message leaves the queue when the device has acknowledged it, or when it expires. A device that disconnects before it
    /// has acknowledged a message receives it again. A restart of the emulator keeps the queue.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`]; [`ErrorKind::QueueFull`] if 50 messages wait for the device;
    /// [`ErrorKind::InvalidMessage`] if the message exceeds 64 KiB; and if the store fails.
    pub async fn send_message(
        &self,
        device_id: &str,
        message: &CloudToDeviceMessage,
    ) -> Result<(), Error> {
        let identity = self.identity(device_id)?;
        let queued = self.hubs.queue(&identity, message).await;
        queued.map_err(not_delivered)
    }

    /// The number of cloud-to-device messages that wait for the device, or that it has not yet acknowledged.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn queued_messages(&self, device_id: &str) -> Result<usize, Error> {
        let identity = self.identity(device_id)?;
        Ok(self.hubs.waiting(&identity).await?.len())
    }

    /// Removes and returns the feedback about cloud-to-device messages. Feedback that a back end has received over the hub's REST
    /// API and not yet settled is not part of it. The emulator keeps feedback for an hour, 1,000 records at most, in memory.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn take_feedback(&self) -> Result<Vec<MessageFeedback>, Error> {
        self.hubs.expire(&self.hostname).await?;
        Ok(self.hubs.feedback.take(&self.hostname, self.hubs.now()))
    }

    /// The file that the device has uploaded with this name. `None` if there is no such file, or no
    /// [folder](crate::EmulatorBuilder::upload_dir) for uploads.
    pub fn uploaded_file(&self, device_id: &str, blob_name: &str) -> Option<PathBuf> {
        let identity = self.identity(device_id).ok()?;
        let blob = BlobName::new(&identity.device_id, blob_name).ok()?;
        let path = self.hubs.blob_path(&identity, &blob).ok()?;
        path.is_file().then_some(path)
    }

    /// The number of telemetry messages that the device has sent since the emulator started.
    pub fn telemetry_count(&self, device_id: &str) -> u64 {
        self.key(device_id)
            .map_or(0, |key| self.hubs.connections.telemetry(&key))
    }

    /// The last telemetry messages of the device, or of the module, oldest first. The emulator keeps 100 of each in memory, or
    /// [another number](crate::EmulatorBuilder::kept_telemetry), and at most 64 MiB of all devices. A restart forgets them.
    pub fn telemetry(&self, device_id: &str) -> Vec<TelemetryMessage> {
        self.key(device_id)
            .map_or_else(Vec::new, |key| self.hubs.telemetry.of(&key))
    }

    /// Reads the telemetry of all devices of this hub that arrives from now on.
    pub fn telemetry_stream(&self) -> TelemetryStream {
        TelemetryStream::new(Arc::clone(&self.hubs), Some(self.hostname.clone()))
    }

    /// Whether the device is connected.
    pub fn is_connected(&self, device_id: &str) -> bool {
        self.key(device_id)
            .is_some_and(|key| self.hubs.connections.is_connected(&key))
    }

    /// Closes the device's connection; false if it has none.
    pub fn disconnect(&self, device_id: &str) -> bool {
        self.key(device_id)
            .is_some_and(|key| self.hubs.end_connection(&key))
    }

    async fn patch(&self, device_id: &str, patch: TwinPatch) -> Result<(), Error> {
        let identity = self.identity(device_id)?;
        self.hubs
            .update_twin(&identity, &patch, false, None)
            .await?;
        Ok(())
    }

    fn key(&self, device_id: &str) -> Option<String> {
        let identity = Identity::parse(&self.hostname, device_id).ok()?;
        Some(identity.key())
    }

    pub(super) fn identity(&self, device_id: &str) -> Result<Identity, Error> {
        Identity::parse(&self.hostname, device_id).map_err(|error| {
            Error::new(
                ErrorKind::DeviceNotFound,
                "the id is not valid, so no device or module has it",
            )
            .with_source(error)
        })
    }
}

impl HubDevice {
    #[cfg(feature = "control")]
    pub(super) fn new(device: Device) -> Self {
        Self(device)
    }

    /// The device id.
    pub fn device_id(&self) -> &DeviceId {
        &self.0.device_id
    }

    /// Whether the device may connect.
    pub fn is_enabled(&self) -> bool {
        self.0.enabled
    }

    /// Whether the device is an IoT Edge device.
    pub fn is_iot_edge(&self) -> bool {
        self.0.iot_edge
    }

    /// The tags of the twin.
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

/// The error of an operation that sends something to a device.
pub(super) fn not_delivered(refusal: ServiceError) -> Error {
    match refusal.status() {
        400 | 413 => Error::new(ErrorKind::InvalidMessage, refusal.message()),
        _ => refusal.into(),
    }
}

impl From<ServiceError> for Error {
    fn from(refusal: ServiceError) -> Self {
        let kind = match refusal.status() {
            404 if matches!(refusal.code().get(), 404_103 | 404_104) => ErrorKind::DeviceNotOnline,
            403 if refusal.code().get() == 403_004 => ErrorKind::QueueFull,
            504 => ErrorKind::Timeout,
            404 => ErrorKind::DeviceNotFound,
            400 | 413 => ErrorKind::InvalidTwin,
            _ => ErrorKind::Store,
        };
        Self::new(kind, refusal.message())
    }
}
