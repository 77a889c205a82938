//! The body of a request to a custom allocation webhook, and the accessors that a policy uses.
#![no_main]

use dps_types::{AllocationRequest, AllocationResponse};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = serde_json::from_slice::<AllocationRequest>(bytes) else {
        return;
    };
    let _ = request.registration_id().to_lowercase();
    let payload = request.payload::<Value>();
    assert_eq!(
        payload.is_ok(),
        request.device_runtime_context.payload.is_some()
    );
    assert!(request.linked_hubs.iter().all(|hub| request.links(hub)));
    if let Some(hub) = request.linked_hubs.first() {
        let answer = serde_json::to_vec(&AllocationResponse::new(hub.clone())).expect("writable");
        let answer: AllocationResponse = serde_json::from_slice(&answer).expect("readable");
        assert!(request.links(&answer.iot_hub_host_name));
    }
    let text = serde_json::to_vec(&request).expect("an accepted value can be written");
    serde_json::from_slice::<AllocationRequest>(&text).expect("a written value can be read");
});
