//! Service connection strings: formatting and parsing are inverse, and Debug and errors do not contain the key.
#![no_main]

use dps_types::ServiceConnectionString;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(read) = text.parse::<ServiceConnectionString>() else {
        return;
    };
    assert!(read.to_string().ends_with(";SharedAccessKey=.."));
    assert!(format!("{read:?}").contains("SymmetricKey(..)"));
    assert_eq!(read.reveal().parse(), Ok(read));
});
