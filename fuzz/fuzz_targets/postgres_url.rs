//! The URL of a database: no input makes the parser panic, and neither an error nor the URL shows the password.

#![no_main]

use dps_emulator::store::PostgresUrl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let shown = match text.parse::<PostgresUrl>() {
        Ok(url) => format!("{url} {url:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    let _ = shown;
    // A password that is surely in its place.
    let hidden: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = format!("postgres://dps:q7Zx{hidden}@localhost/dps");
    let shown = match url.parse::<PostgresUrl>() {
        Ok(url) => format!("{url} {url:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains("q7Zx"), "{shown}");
});
