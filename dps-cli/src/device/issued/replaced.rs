//! The error of a certificate whose key or file was replaced by another program before the certificate was in use.

use std::fmt;
use std::io;

use crate::failure::{Exit, Failure};

/// Another program has replaced the key or the files of a certificate.
#[derive(Debug)]
pub(super) struct Replaced;

impl Replaced {
    pub(super) fn is_cause_of(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(cause) if cause.is::<Self>())
    }
}

/// The failure of a program whose certificate was replaced.
pub(super) fn replaced(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Conflict, format!("{what}: {error}")).with_hint(
        "let only one program renew the certificate: each `dps renew` and each device needs other names for its keys and files",
    )
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "another program has replaced the key or the files of the certificate in the meantime",
        )
    }
}

impl std::error::Error for Replaced {}

impl From<Replaced> for io::Error {
    fn from(error: Replaced) -> Self {
        Self::other(error)
    }
}
