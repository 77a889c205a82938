//! The configuration file of the emulator: the same options as JSON and as TOML mean the same arguments.
#![no_main]

use dps_emulator::fuzzing::arguments;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|text: &str| {
    let _ = arguments(text, false);
    let Some((mut as_json, is_valid)) = arguments(text, true) else {
        return;
    };
    let options: Map<String, Value> = serde_json::from_str(text).expect("it was read");
    // TOML has no null, and its integers have 64 bits with a sign.
    let Ok(toml) = toml::to_string(&options) else {
        return;
    };
    let (mut as_toml, is_valid_too) = arguments(&toml, false).expect("the same options");
    as_json.sort();
    as_toml.sort();
    assert_eq!((as_toml, is_valid_too), (as_json, is_valid), "{toml}");
});
