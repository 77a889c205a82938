//! The error of a certificate whose key or file was replaced by another program before the certificate was in use.

use std::fmt;
use std::io;

use crate::failure::{Exit, Failure};

/// What another program has replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    /// The key: the certificate cannot be used.
    Key,
    /// The files of the certificate. Its key may still be there.
    Files,
}

impl Replaced {
    /// The replacement that is the cause of an error.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// The failure of a program whose certificate was replaced. `more` follows its hint.
    pub(super) fn failure(self, what: &str, more: &str) -> Failure {
        Failure::new(Exit::Conflict, format!("{what}: {self}")).with_hint(format!(
            "let only one program renew the certificate: each `dps renew` and each device needs other names for its keys and files{more}",
        ))
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "another program has replaced the key of the certificate in the meantime",
            Self::Files => {
                "another program has replaced the files of the certificate in the meantime"
            }
        })
    }
}

impl std::error::Error for Replaced {}

impl From<Replaced> for io::Error {
    fn from(error: Replaced) -> Self {
        Self::other(error)
    }
}
