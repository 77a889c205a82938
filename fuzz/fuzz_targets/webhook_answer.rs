//! The answer of a custom allocation webhook, and its URL: a device is assigned only to a linked hub, and the message of a failure
//! is short.
#![no_main]

use std::sync::LazyLock;

use dps_allocation::{fuzzing, webhook_url};
use dps_types::AllocationRequest;
use libfuzzer_sys::fuzz_target;

/// The longest message of a failure, in bytes. It is stored in the registration record.
const MAX_MESSAGE: usize = 8 * 1024;

static REQUEST: LazyLock<AllocationRequest> = LazyLock::new(|| {
    let text = r#"{
        "enrollmentGroup": { "enrollmentGroupId": "g", "attestation": { "type": "symmetricKey" } },
        "deviceRuntimeContext": { "registrationId": "dev-1", "symmetricKey": {} },
        "linkedHubs": ["hub-a.azure-devices.net", "hub-b.azure-devices.net"]
    }"#;
    serde_json::from_str(text).expect("a request")
});

fuzz_target!(init: LazyLock::force(&REQUEST), |input: (u16, &[u8])| {
    let (status, body) = input;
    for status in [status, 200] {
        let outcome = fuzzing::read_answer(status, body, &REQUEST);
        let _ = outcome.to_string();
        if let Some(response) = outcome.response() {
            assert!(status == 200 && REQUEST.links(&response.iot_hub_host_name));
            let written = serde_json::to_vec(response).expect("a response can be written");
            let again = fuzzing::read_answer(200, &written, &REQUEST);
            assert_eq!(again.response(), Some(response));
        } else {
            assert!(outcome.error_code().is_some());
            let message = outcome.error_message().expect("a message");
            assert!(!message.is_empty() && message.len() <= MAX_MESSAGE, "{} bytes", message.len());
            assert!(outcome.reason().is_none_or(|reason| reason.chars().count() <= 500));
        }
    }
    if let Ok(url) = str::from_utf8(body) {
        let is_valid = webhook_url::check(url).is_ok();
        let shown = webhook_url::mask(url);
        // A text with several schemes is hidden as a whole.
        assert!(!is_valid || shown == "****" || webhook_url::check(&shown).is_ok(), "{shown}");
    }
});
