//! Helpers of the tests: the documented request, and other requests.

use dps_allocation::AllocationPolicy;
use dps_allocation::policies::Fixed;
use dps_types::AllocationRequest;
use serde_json::{Value, json};

/// The request that DPS posts. Source: azure-docs `iot-dps/concepts-custom-allocation.md`.
pub(crate) const DOCUMENTED_REQUEST: &str = r#"{"enrollmentGroup":{"enrollmentGroupId":"contoso-custom-allocated-devices","attestation":{"type":"symmetricKey"},
   "capabilities":{"iotEdge":false},"etag":"\"13003fea-0000-0300-0000-62d1d5e50000\"","provisioningStatus":"enabled",
   "reprovisionPolicy":{"updateHubAssignment":true,"migrateDeviceData":true},
   "createdDateTimeUtc":"2022-07-05T21:27:16.8123235Z","lastUpdatedDateTimeUtc":"2022-07-15T21:02:29.5922255Z",
   "allocationPolicy":"custom","iotHubs":["hub-a.azure-devices.net","hub-b.azure-devices.net"],
   "customAllocationDefinition":{"webhookUrl":"https://app.azurewebsites.net/api/HttpTrigger1?****","apiVersion":"2021-10-01"}},
 "deviceRuntimeContext":{"registrationId":"dev-007","currentIotHubHostName":"hub-a.azure-devices.net","currentDeviceId":"dev-007",
   "symmetricKey":{},"payload":{"k":"v"}},
 "linkedHubs":["hub-a.azure-devices.net","hub-b.azure-devices.net"]}"#;

pub(crate) const HUB_A: &str = "hub-a.azure-devices.net";
pub(crate) const HUB_B: &str = "hub-b.azure-devices.net";

pub(crate) fn request(registration_id: &str, linked_hubs: &[&str]) -> AllocationRequest {
    request_with(registration_id, linked_hubs, json!({}))
}

/// A request with these members in the runtime context of the device.
pub(crate) fn request_with(
    registration_id: &str,
    linked_hubs: &[&str],
    mut context: Value,
) -> AllocationRequest {
    context["registrationId"] = json!(registration_id);
    serde_json::from_value(json!({
        "enrollmentGroup": { "enrollmentGroupId": "group", "attestation": { "type": "symmetricKey" } },
        "deviceRuntimeContext": context,
        "linkedHubs": linked_hubs,
    }))
    .expect("an allocation request")
}

pub(crate) fn to(hub: &str) -> Fixed {
    Fixed::to(hub.parse().expect("a hub"))
}

/// The chosen hub, or the reason of the rejection.
pub(crate) async fn ask(
    policy: &dyn AllocationPolicy,
    request: &AllocationRequest,
) -> Result<String, String> {
    match policy.allocate(request).await {
        Ok(allocation) => Ok(allocation.hub().to_string()),
        Err(rejection) => Err(rejection.to_string()),
    }
}
