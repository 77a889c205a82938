//! The emulator's options that are text, and the masking of webhook URLs, which appear in logs.
#![no_main]

use dps_emulator::{Latency, LinkedHub};
use dps_types::mask_url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(hub) = text.parse::<LinkedHub>() {
        assert!(text.starts_with(hub.hostname().as_str()));
    }
    let _ = text.parse::<Latency>();

    let masked = mask_url(text);
    assert_eq!(mask_url(&masked), masked, "a masked URL is not changed by masking");
    // A query may be a function key.
    if let Some((_, query)) = masked.split_once('?') {
        assert_eq!(query, "****", "{masked}");
    }
});
