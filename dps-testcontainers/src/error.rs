//! The error of this crate.

use std::error::Error as StdError;
use std::fmt;

/// The connection of a container cannot be read.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: &'static str,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The container engine failed, or the container ended.
    Engine,
    /// The output of the container has no line of a version of `dps-emulator` that this crate reads: check the image.
    Ready,
}

impl Error {
    /// The kind of the error, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn engine(
        what: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            kind: ErrorKind::Engine,
            what,
            source: Some(source.into()),
        }
    }

    pub(crate) fn ready(
        what: &'static str,
        source: Option<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            kind: ErrorKind::Ready,
            what,
            source,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
