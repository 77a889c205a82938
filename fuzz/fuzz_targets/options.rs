//! The emulator's options that are text, and the masking of webhook URLs, which appear in logs.
#![no_main]

use dps_emulator::{AccessPolicy, DefaultAllocation, EntraRole, HostName, InstanceName, IssuingAuthority, Latency, LinkedHub};
use dps_types::mask_url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(hub) = text.parse::<LinkedHub>() {
        assert!(text.starts_with(hub.hostname().as_str()));
    }
    let _ = (text.parse::<Latency>(), text.parse::<DefaultAllocation>(), text.parse::<EntraRole>());
    let _ = (text.parse::<HostName>(), text.parse::<IssuingAuthority>());
    if let Ok(name) = text.parse::<InstanceName>() {
        assert_eq!(name.as_str().parse::<InstanceName>().expect("a name"), name);
        assert!(text.eq_ignore_ascii_case(name.as_str()));
    }
    if let Ok(policy) = text.parse::<AccessPolicy>() {
        let key = text.rsplit_once(':').map_or("", |(_, key)| key);
        assert!(key.len() < 20 || !format!("{policy:?}").contains(key), "{policy:?}");
    }


    let masked = mask_url(text);
    assert_eq!(mask_url(&masked), masked, "a masked URL is not changed by masking");
    // A query may be a function key.
    if let Some((_, query)) = masked.split_once('?') {
        assert_eq!(query, "****", "{masked}");
    }
});
