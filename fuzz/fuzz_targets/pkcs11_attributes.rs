//! Attributes of objects as a PKCS#11 module returns them: a public key that is accepted can be read again, and nothing panics.
#![no_main]

use dps_device::pkcs11::fuzzing;
use libfuzzer_sys::fuzz_target;

// The first byte is the attribute, the second one the length of the first of two values.
fuzz_target!(|bytes: &[u8]| {
    let [attribute, length, values @ ..] = bytes else {
        return;
    };
    let (first, second) = values.split_at(usize::from(*length).min(values.len()));
    let key = match attribute % 4 {
        0 => fuzzing::ec_key(first, second),
        1 => fuzzing::rsa_key(second, first),
        2 => fuzzing::key_of_certificate(values),
        _ => {
            assert!(fuzzing::shown(first, second).starts_with("private key"));
            None
        }
    };
    if let Some(key) = key
        && attribute % 4 != 2
    {
        assert!(fuzzing::is_supported(&key));
    }
});
