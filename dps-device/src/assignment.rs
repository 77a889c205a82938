//! The good end: which hub, under which name, and what the operator's webhook had to say.

use dps_types::{DeviceId, DeviceRegistrationResult, HubHostname, RegistrationSubstatus};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;

/// Where the device belongs.
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

    /// The device's name in that hub. It need not be the registration id.
    pub fn device_id(&self) -> &DeviceId {
        &self.device_id
    }

    /// How the assignment came about: the first one, or moved from another hub.
    pub fn substatus(&self) -> Option<&RegistrationSubstatus> {
        self.registration.substatus.as_ref()
    }

    /// What the custom allocation webhook sends to the device, as JSON.
    pub fn payload_json(&self) -> Option<&Value> {
        self.registration.payload.as_ref()
    }

    /// What the custom allocation webhook sends to the device, `None` when it sends nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) when it is something else than a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.payload_json()
            .map(T::deserialize)
            .transpose()
            .map_err(|error| {
                Error::protocol("the payload is not what the device expects").with_source(error)
            })
    }

    /// All that the service told about the registration.
    pub fn registration(&self) -> &DeviceRegistrationResult {
        &self.registration
    }

    /// An assignment without a hub or a device id is none.
    pub(crate) fn new(registration: Option<DeviceRegistrationResult>) -> Result<Self, Error> {
        let missing = |what| Error::protocol(format!("the device is assigned, but without {what}"));
        let registration = registration.ok_or_else(|| missing("a registrationState"))?;
        Ok(Self {
            hub: registration
                .assigned_hub
                .clone()
                .ok_or_else(|| missing("an assignedHub"))?,
            device_id: registration
                .device_id
                .clone()
                .ok_or_else(|| missing("a deviceId"))?,
            registration,
        })
    }
}
