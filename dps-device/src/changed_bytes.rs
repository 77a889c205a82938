//! A test of the documents that this crate keeps on a disk.

use crate::error::Error;

/// Checks that a document is not read after any change of one byte.
pub(crate) fn refuses_each_changed_byte<T>(
    document: &str,
    read: impl Fn(&[u8]) -> Result<T, Error>,
) {
    for at in 0..document.len() {
        for change in 1..=u8::MAX {
            let mut changed = document.as_bytes().to_vec();
            changed[at] ^= change;
            let text = String::from_utf8_lossy(&changed).into_owned();
            assert!(read(&changed).is_err(), "{text:?}");
        }
    }
}
