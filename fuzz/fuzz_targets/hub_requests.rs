//! Requests to a hub's REST API: `METHOD /path` means the same when the segments of the path are encoded. The name of an uploaded
//! file stays inside its folder.
#![no_main]

use std::path::Component;

use dps_emulator::fuzzing::{blob_name, hub_operation};
use dps_types::protocol::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (method, path) = text.split_once(' ').unwrap_or(("GET", text));
    let operation = hub_operation(method, path);
    if let Err(status) = operation {
        assert!([400, 404, 405, 501].contains(&status), "{status}");
    }
    let segments: Option<Vec<String>> = path.trim_matches('/').split('/').map(decode).collect();
    match segments {
        Some(segments) => {
            let encoded: Vec<String> = segments.iter().map(|it| encode(it).to_string()).collect();
            assert_eq!(hub_operation(method, &encoded.join("/")), operation);
        }
        None => assert_eq!(operation, Err(404)),
    }

    if let Some((name, file)) = blob_name(text) {
        assert!(file.components().count() >= 2);
        assert!(file.components().all(|it| matches!(it, Component::Normal(_))), "{file:?}");
        assert_eq!(blob_name(&name), Some((name, file)));
    }
});
