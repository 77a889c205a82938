//! Recorded requests for `dps policy test`: a request that is read is written so that it is read as the same request.
#![no_main]

use dps_cli::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for request in fuzzing::recorded_requests(text) {
        let Ok((request, expected)) = request else {
            return;
        };
        let mut document = serde_json::to_value(&request).expect("JSON");
        if let Some(hub) = &expected {
            document["expectedHub"] = hub.as_str().into();
        }
        let text = document.to_string();
        let mut again = fuzzing::recorded_requests(&text);
        assert_eq!(again.next(), Some(Ok((request, expected))), "{text}");
        assert!(again.next().is_none());
    }
});
