//! The files in which a device keeps its assignment and its issued certificate: what is read is written so that it is read as the
//! same, and a changed byte is found.
#![no_main]

use dps_device::CachedAssignment;
use dps_device::certificate::Credential;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Numbers may be written with more bytes than they were read from, so that a document becomes too long.
    if let Ok(read) = CachedAssignment::from_json(bytes)
        && let Ok(written) = read.to_json()
    {
        let again = CachedAssignment::from_json(&written).expect("a written value can be read");
        assert!(again == read);
        assert!(again.to_json().is_ok_and(|twice| twice == written));
        assert!(CachedAssignment::from_json(&changed(&written, bytes)).is_err());
        let _ = format!("{read:?}");
    }
    if let Ok(read) = Credential::from_json(bytes)
        && let Ok(written) = read.to_json()
    {
        let again = Credential::from_json(&written).expect("a written value can be read");
        assert!(again == read);
        assert!(again.to_json().is_ok_and(|twice| twice == written));
        assert!(Credential::from_json(&changed(&written, bytes)).is_err());
        let key = read.key();
        assert!(key.len() < 8 || !format!("{read:?}").contains(key));
    }
});

/// The document with another byte at a place that depends on the input.
fn changed(document: &[u8], input: &[u8]) -> Vec<u8> {
    let sum: usize = input.iter().map(|byte| usize::from(*byte)).sum();
    let mut changed = document.to_vec();
    let at = sum % changed.len();
    changed[at] ^= 1 << (sum % 8);
    changed
}
