//! The reader of PKCS#12 files, for the targets of `fuzz/`.

use super::container;

/// Reads a PKCS#12 file. `None` if the bytes are not one, else the number of its objects or the error as text.
pub fn pkcs12(bytes: &[u8], password: &str) -> Option<Result<usize, String>> {
    let described = container::describe(bytes, password)?;
    Some(match described {
        Ok(documents) => Ok(documents.len()),
        Err(failure) => Err(failure.to_string()),
    })
}
