//! An operator's connection string: written again, it is read as the same, and its key shows nowhere.
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
