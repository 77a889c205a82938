//! The answer of a policy: the hub, the initial twin, and a payload for the device.

use dps_types::enrollment::InitialTwin;
use dps_types::{AllocationResponse, HubHostname};
use serde_json::Value;

/// The hub to which a device is assigned, with the device's initial twin and a payload for the device.
///
/// ```
/// use dps_allocation::Allocation;
/// use dps_types::enrollment::InitialTwin;
///
/// let allocation = Allocation::to("hub-a.azure-devices.net".parse()?)
///     .initial_twin(InitialTwin::desired([("darkness", "medium")]))
///     .payload(serde_json::json!({ "greeting": "hello" }));
/// assert_eq!(allocation.hub().as_str(), "hub-a.azure-devices.net");
/// # Ok::<(), dps_types::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation(AllocationResponse);

impl Allocation {
    /// Assigns the device to this hub, which must be one of the request's `linkedHubs`.
    pub fn to(hub: HubHostname) -> Self {
        Self(AllocationResponse::new(hub))
    }

    /// Sets the initial twin of the device, instead of the one in the enrollment.
    ///
    /// DPS applies it when the device is assigned for the first time, and when the device moves to another hub and the
    /// enrollment's reprovisioning policy resets the twin.
    #[must_use]
    pub fn initial_twin(mut self, twin: InitialTwin) -> Self {
        self.0.initial_twin = Some(twin);
        self
    }

    /// Sets the payload that the device receives, at every registration. DPS accepts messages of up to 96 KB, and
    /// [`Webhook`](crate::Webhook) refuses a payload that is nested deeper than [`dps_types::json::MAX_DEPTH`].
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Value>) -> Self {
        self.0.payload = Some(payload.into());
        self
    }

    /// Returns the chosen hub.
    pub fn hub(&self) -> &HubHostname {
        &self.0.iot_hub_host_name
    }

    pub(crate) fn response(&self) -> &AllocationResponse {
        &self.0
    }
}

impl From<Allocation> for AllocationResponse {
    fn from(allocation: Allocation) -> Self {
        allocation.0
    }
}

impl From<AllocationResponse> for Allocation {
    fn from(response: AllocationResponse) -> Self {
        Self(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_keeps_every_member_of_a_response() {
        let text = r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"tags":{"Desired":1}},"payload":3,"later":true}"#;
        let response: AllocationResponse = serde_json::from_str(text).unwrap();
        let allocation = Allocation::from(response);
        assert_eq!(allocation.hub().as_str(), "hub-a.azure-devices.net");
        assert_eq!(
            serde_json::to_string(&AllocationResponse::from(allocation)).unwrap(),
            text
        );
    }
}
