//! The error of this crate, and its kinds.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::{fmt, io};

type Source = Box<dyn StdError + Send + Sync>;

/// An error of the handshake or of the WebSocket. Close the stream after it.
///
/// An error while reading or writing is an [`io::Error`] with this error as its source. Neither the text nor the sources hold
/// anything of a message's content. `{:#}` prints the message and all its sources.
#[derive(thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    what: Cow<'static, str>,
    http_status: Option<u16>,
    source: Option<Source>,
}

/// The kinds of [`Error`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The stream failed or ended.
    Io,
    /// The received bytes are not WebSocket.
    Protocol,
    /// A message is larger than the limit.
    TooLarge,
    /// The server did not switch to WebSocket, or its response is not valid.
    Upgrade,
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
        let mut source = self.source().filter(|_| f.alternate());
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl Error {
    /// The kind of the failure, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The status of an HTTP answer that was not a switch to WebSocket: an [`ErrorKind::Upgrade`] may have one.
    pub fn http_status(&self) -> Option<u16> {
        self.http_status
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            what: what.into(),
            http_status: None,
            source: None,
        }
    }

    pub(crate) fn io(source: io::Error) -> Self {
        Self::new(ErrorKind::Io, "the connection failed").with_source(source)
    }

    pub(crate) fn with_source(self, source: impl Into<Source>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    pub(crate) fn with_http_status(self, status: u16) -> Self {
        Self {
            http_status: Some(status),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_leaves_the_source_to_the_chain() {
        let error = Error::io(io::Error::other("reset"));

        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.to_string(), "the connection failed");
        assert_eq!(error.source().unwrap().to_string(), "reset");
    }
}
