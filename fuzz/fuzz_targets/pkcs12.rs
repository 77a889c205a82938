//! PKCS#12 files that `dps certificate inspect` reads: no file asks for more work than the limits allow.
#![no_main]

use dps_cli::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for password in ["", "secret"] {
        match fuzzing::pkcs12(bytes, password) {
            Some(Ok(objects)) => assert!(objects <= bytes.len()),
            Some(Err(error)) => assert!(!error.is_empty()),
            None => {}
        }
    }
});
