//! Why the emulator does not start, or one of its hubs does not do what it is told.

use std::error::Error as StdError;

/// Why the emulator does not start, or one of its hubs does not do what it is told.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An option is not valid: correct it.
    Configuration,
    /// The port cannot be had: it is in use, or not allowed to this user.
    Bind,
    /// The data cannot be read or written.
    Store,
    /// A certificate authority or certificate cannot be made, read or written. If its files are damaged, remove them.
    Certificate,
    /// A name in a certificate is empty, or is not a valid DNS name, IP address or subject: correct it.
    InvalidName,
    /// A certificate signing request is malformed, is not signed with its own key, or has an unsupported kind of key.
    InvalidRequest,
    /// The hub has no such device.
    DeviceNotFound,
    /// The twin would not be one that a hub takes.
    InvalidTwin,
}

impl Error {
    /// What went wrong, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    pub(crate) fn because(self, source: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..self
        }
    }
}
