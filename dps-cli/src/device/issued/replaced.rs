//! The error of a certificate whose key or file was replaced by another program before the certificate was in use.

use std::fmt;
use std::io;

/// Another program has replaced the key or the files of a certificate.
#[derive(Debug)]
pub(super) struct Replaced;

impl Replaced {
    pub(super) fn is_cause_of(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(cause) if cause.is::<Self>())
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another program has replaced its key or its files in the meantime")
    }
}

impl std::error::Error for Replaced {}

impl From<Replaced> for io::Error {
    fn from(error: Replaced) -> Self {
        Self::other(error)
    }
}
