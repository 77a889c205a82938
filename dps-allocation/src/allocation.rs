//! A policy's answer: the hub, the twin to start with, and what to tell the device.

use dps_types::enrollment::InitialTwin;
use dps_types::{AllocationResponse, HubHostname};
use serde_json::Value;

/// Where a device goes.
///
/// ```
/// use dps_allocation::Allocation;
/// use dps_types::enrollment::InitialTwin;
///
/// let allocation = Allocation::to(&"hub-a.azure-devices.net".parse()?)
///     .initial_twin(InitialTwin::desired([("darkness", "medium")]))
///     .payload(serde_json::json!({ "greeting": "hello" }));
/// assert_eq!(allocation.hub().as_str(), "hub-a.azure-devices.net");
/// # Ok::<(), dps_types::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation(AllocationResponse);

impl Allocation {
    /// To this hub, which must be one of the request's `linkedHubs`.
    pub fn to(hub: &HubHostname) -> Self {
        Self(AllocationResponse::new(hub.clone()))
    }

    /// Starts the device with this twin instead of the enrollment's.
    ///
    /// It counts when the device is assigned for the first time, and when it moves to another hub under an enrollment
    /// that resets the twin.
    #[must_use]
    pub fn initial_twin(mut self, twin: InitialTwin) -> Self {
        self.0.initial_twin = Some(twin);
        self
    }

    /// Tells the device this, at every registration. DPS takes messages of up to 96 KB.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Value>) -> Self {
        self.0.payload = Some(payload.into());
        self
    }

    /// The chosen hub.
    pub fn hub(&self) -> &HubHostname {
        &self.0.iot_hub_host_name
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
    fn an_allocation_and_a_response_are_the_same_words() {
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
