//! A successful registration: hub, device id, webhook payload.

use dps_types::{
    ConnectionProfile, DeviceId, DeviceRegistrationResult, HubHostname, RegistrationSubstatus,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;

/// The IoT hub and the device id that DPS assigned to the device.
///
/// ```no_run
/// # async fn example(client: dps_device::ProvisioningClient) -> Result<(), dps_device::Error> {
/// let assignment = client.register().await?;
/// println!("{} is assigned to {}", assignment.device_id(), assignment.hub());
/// // The payload that the allocation webhook sent to the device.
/// let payload: Option<std::collections::BTreeMap<String, String>> = assignment.payload()?;
/// # drop(payload);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    hub: HubHostname,
    device_id: DeviceId,
    registration: DeviceRegistrationResult,
}

impl Assignment {
    /// The host name of the IoT hub.
    pub fn hub(&self) -> &HubHostname {
        &self.hub
    }

    /// The device id in the hub. It may differ from the registration id.
    pub fn device_id(&self) -> &DeviceId {
        &self.device_id
    }

    /// The kind of the assignment, for example the first one or a move from another hub.
    pub fn substatus(&self) -> Option<&RegistrationSubstatus> {
        self.registration.substatus.as_ref()
    }

    /// The payload that the custom allocation webhook sends to the device, as JSON.
    pub fn payload_json(&self) -> Option<&Value> {
        self.registration.payload.as_ref()
    }

    /// The payload that the custom allocation webhook sends to the device, `None` without a payload.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) when the payload is not a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.payload_json()
            .map(T::deserialize)
            .transpose()
            .map_err(|error| {
                Error::protocol("the payload of the webhook does not have the expected type")
                    .with_source(error)
            })
    }

    /// The connection profile of the hub, which may be one that this client does not support. `None` means
    /// [`ConnectionProfile::Classic`].
    pub fn connection_profile(&self) -> Option<&ConnectionProfile> {
        self.registration.connection_profile.as_ref()
    }

    /// The whole registration record.
    pub fn registration(&self) -> &DeviceRegistrationResult {
        &self.registration
    }

    /// The hub key for the device's TPM, encrypted to it.
    pub(crate) fn hub_key(&self) -> Option<&str> {
        let tpm = self.registration.tpm.as_ref()?;
        tpm.authentication_key.as_deref()
    }

    /// Reads the registration record. A record without a hub or a device id is an error.
    pub(crate) fn new(registration: Option<DeviceRegistrationResult>) -> Result<Self, Error> {
        let missing =
            |what| Error::protocol(format!("the answer assigns the device but has no {what}"));
        let registration = registration.ok_or_else(|| missing("registrationState"))?;
        Ok(Self {
            hub: registration
                .assigned_hub
                .clone()
                .ok_or_else(|| missing("assignedHub"))?,
            device_id: registration
                .device_id
                .clone()
                .ok_or_else(|| missing("deviceId"))?,
            registration,
        })
    }
}
