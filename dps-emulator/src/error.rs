//! Errors of the emulator: it does not start, or a hub refuses a change.

use std::error::Error as StdError;
use std::fmt;

/// An error of the emulator: it does not start, or a hub refuses a change. `{:#}` prints the message and all its sources.
#[derive(thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An option is not valid.
    Configuration,
    /// The emulator cannot listen on the port: it is in use, or this user may not use it.
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
    /// The hub does not accept the change of the twin.
    InvalidTwin,
    /// The hub does not accept the message or the direct method.
    InvalidMessage,
    /// The queue of the device has as many cloud-to-device messages as it may have.
    QueueFull,
    /// The device is not connected to its hub, or has not subscribed to direct methods.
    DeviceNotOnline,
    /// The device did not respond in time.
    Timeout,
}

impl fmt::Debug for Error {
    /// The kind, and the text with all sources: what Rust prints for an error that `main` returns, and for `unwrap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        dps_types::write_sources(f, self)
    }
}

impl Error {
    /// The kind of the error, to match on.
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

    pub(crate) fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..self
        }
    }
}
