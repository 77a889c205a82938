//! Recorded exchanges of the emulator: one that is read is written so that it is read as the same exchange, and secrets are masked.
#![no_main]

use dps_emulator::fuzzing::{check_recording, masked_document, masked_line};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const SECRET: &str = "q7Zx2c2VjcmV0";

fuzz_target!(|text: &str| {
    check_recording(text);

    let masked = masked_line(text);
    assert_eq!(masked_line(&masked), masked);
    let (before, after) = text.split_once('\n').unwrap_or((text, ""));
    if text.contains(SECRET) {
        return;
    }
    for name in ["SharedAccessKey=", "sharedaccesskey =", "sig=", "Sig= "] {
        let line = format!("{before};{name}{SECRET};{after}");
        assert!(!masked_line(&line).contains(SECRET), "{line}");
    }
    let inside: Value = serde_json::from_str(text).unwrap_or_default();
    let document = masked_document(json!({ "a": [inside, { "primaryKey": SECRET }], "sas": format!("sig={SECRET}") }));
    assert!(!document.to_string().contains(SECRET));
    assert_eq!(masked_document(document.clone()), document);
});
