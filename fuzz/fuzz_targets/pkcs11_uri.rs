//! PKCS#11 URIs: formatting and parsing are inverse, and Debug and errors do not contain the PIN.
#![no_main]

use dps_device::pkcs11::Uri;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(read) = text.parse::<Uri>() else {
        return;
    };
    let written = read.to_string();
    assert!(!written.contains("pin-value="));
    assert!(format!("{read:?}").contains(&written));
    let again: Uri = written.parse().expect("a written value can be read");
    assert_eq!(again.to_string(), written);
    assert_eq!(again.object(), read.object());
    assert_eq!(again.id(), read.id());
    assert_eq!(again.token(), read.token());
    assert_eq!(again.module_name(), read.module_name());
    assert_eq!(again.module_path(), read.module_path());
});
