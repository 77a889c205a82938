//! What can go wrong before anything is asked: one opaque error, and the kind that says who must act.

use std::error::Error as StdError;

type Source = Box<dyn StdError + Send + Sync>;

/// Why a webhook could not be called, or not be served, or a policy not be set up.
///
/// None of these goes away by trying again. The text holds no part of a URL but scheme, host and path.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Source>,
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

    pub(crate) fn with_source(self, source: impl Into<Source>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }
}

/// The kinds of [`Error`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The webhook's URL is none, or neither `http` nor `https`: correct it.
    InvalidUrl,
    /// The webhook's URL is plain `http` and not on this machine: use `https`.
    InsecureUrl,
    /// The trusted roots cannot be used: look at the source.
    Roots,
    /// The HTTP client could not be made. Not expected: please report it.
    Client,
    /// `FUNCTIONS_CUSTOMHANDLER_PORT` is absent or no port: start the program through the Azure Functions host.
    FunctionsPort,
    /// The port cannot be listened on: look at the source.
    Listen,
    /// What should be a regular expression is none: look at the source.
    InvalidPattern,
    /// What should be an allocation request is none: look at the source.
    InvalidRequest,
}
