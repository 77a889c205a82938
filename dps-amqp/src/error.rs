//! The error of this crate, and its kinds.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::{fmt, io};

use crate::condition::Condition;

type Source = Box<dyn StdError + Send + Sync>;

/// An error of a connection. Close the connection after it.
///
/// Neither the text nor the sources hold anything of a message's content. `{:#}` prints the message and all its sources.
#[derive(thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    what: Cow<'static, str>,
    condition: &'static str,
    peer: Option<Box<Condition>>,
    source: Option<Source>,
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

    /// The AMQP error condition that a server closes the connection with, such as `amqp:decode-error`.
    pub fn condition(&self) -> &'static str {
        self.condition
    }

    /// The condition that the peer reported when it ended the connection, the session or the link.
    pub fn peer(&self) -> Option<&Condition> {
        self.peer.as_deref()
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            what: what.into(),
            condition: kind.condition(),
            peer: None,
            source: None,
        }
    }

    pub(crate) fn malformed(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Malformed, what)
    }

    pub(crate) fn framing(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Framing, what)
    }

    pub(crate) fn not_allowed(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotAllowed, what)
    }

    /// A failure of the stream. An error of this crate that passed through a stream is unchanged.
    pub(crate) fn io(source: io::Error) -> Self {
        match source.downcast::<Self>() {
            Ok(own) => own,
            // A stream such as a WebSocket reports invalid data with this kind.
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                Self::framing("the received data is not valid").with_source(source)
            }
            Err(source) => Self::new(ErrorKind::Io, "the connection failed").with_source(source),
        }
    }

    pub(crate) fn ended() -> Self {
        Self::new(ErrorKind::Io, "the peer closed the connection")
    }

    pub(crate) fn with_peer(self, condition: Option<Condition>) -> Self {
        Self {
            peer: condition.map(Box::new),
            ..self
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
    /// The stream failed or ended.
    Io,
    /// The bytes are not AMQP 1.0, or the peer speaks another version.
    Framing,
    /// A value or a performative cannot be decoded.
    Malformed,
    /// A frame or a message is larger than the limit.
    TooLarge,
    /// The peer did something that the protocol does not allow at this point.
    NotAllowed,
    /// The peer closed the connection, ended the session or detached the link.
    Closed,
    /// The peer does not offer the requested SASL mechanism.
    Mechanism,
    /// The peer refused the credentials.
    Unauthorized,
    /// The peer could not check the credentials because of a temporary problem (SASL outcome 4).
    Unavailable,
}

impl ErrorKind {
    /// AMQP 2.8.15 to 2.8.18.
    fn condition(self) -> &'static str {
        match self {
            Self::Framing => "amqp:connection:framing-error",
            Self::Malformed => "amqp:decode-error",
            Self::TooLarge => "amqp:frame-size-too-small",
            Self::NotAllowed => "amqp:not-allowed",
            Self::Unauthorized | Self::Mechanism => "amqp:unauthorized-access",
            Self::Io | Self::Closed | Self::Unavailable => "amqp:connection:forced",
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
        assert_eq!(format!("{error:#}"), "the connection failed: reset");
    }

    #[test]
    fn an_error_of_this_crate_passes_through_a_stream_unchanged() {
        let error = Error::io(io::Error::other(Error::malformed("no list")));

        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert_eq!(error.condition(), "amqp:decode-error");
    }
}
