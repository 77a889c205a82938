//! Errors of setup: a webhook URL, a listener, trusted roots, a pattern, a test request.

use std::error::Error as StdError;
use std::fmt;

type Source = Box<dyn StdError + Send + Sync>;

/// An error while a webhook, a policy or a test is set up.
///
/// Retrying does not help. The text contains no part of a URL except scheme, host, port and path. `{:#}` prints the
/// sources as well.
// Not derived with thiserror, whose Display cannot print the sources for `{:#}`.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Source>,
}

impl Error {
    /// Returns the kind, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(self, source: impl Into<Source>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }
}

impl fmt::Debug for Error {
    /// The kind, and the text with all sources: what Rust prints for an error that `main` returns, and for `unwrap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        dps_types::write_sources(f, self)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The kinds of [`Error`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The webhook URL is not a valid URL, or its scheme is not `http` or `https`.
    InvalidUrl,
    /// The webhook URL is plain `http` and its host is not this machine: use `https`.
    InsecureUrl,
    /// The trusted roots are not usable: see the source.
    Roots,
    /// The HTTP client cannot be created. Not expected: please report it.
    Client,
    /// `FUNCTIONS_CUSTOMHANDLER_PORT` is not set or is not a port: start the program through the Azure Functions host.
    FunctionsPort,
    /// The program cannot listen on the port: see the source.
    Listen,
    /// The regular expression or the object identifier is not valid: see the source.
    InvalidPattern,
    /// The document is not a valid allocation request: see the source.
    InvalidRequest,
}
