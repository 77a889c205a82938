//! The error of this crate, and its kinds.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;

type Source = Box<dyn StdError + Send + Sync>;

/// An error while a packet is read or written. Close the connection after it.
///
/// Neither the message nor the sources contain a part of a packet's content.
/// `{:#}` prints the message and all its sources.
pub struct Error {
    kind: ErrorKind,
    what: Cow<'static, str>,
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

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

impl Error {
    /// The kind of the failure, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    pub(crate) fn malformed(what: &'static str) -> Self {
        Self::new(ErrorKind::Malformed, what)
    }

    pub(crate) fn malformed_packet(source: impl Into<Source>) -> Self {
        Self::malformed("the packet is malformed").with_source(source)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(ErrorKind::TooLarge, "the packet is too large")
    }

    /// An error of the stream. An error of this crate that passed through a stream is unchanged.
    pub(crate) fn io(source: io::Error) -> Self {
        match source.downcast::<Self>() {
            Ok(own) => own,
            // A stream such as a WebSocket reports invalid data with this kind.
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                Self::malformed("the received data is not valid").with_source(source)
            }
            Err(source) => Self::new(ErrorKind::Io, "the connection failed").with_source(source),
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
    /// The stream failed, or ended inside a packet.
    Io,
    /// The received packet is not MQTT 3.1.1, or the packet to write would not be.
    Malformed,
    /// The received packet is larger than the limit, or the packet to write is larger than MQTT allows (256 MiB).
    TooLarge,
    /// A CONNECT of another version of MQTT. A server answers
    /// [`UnacceptableProtocolVersion`](crate::ConnectCode::UnacceptableProtocolVersion) and closes (MQTT-3.1.2-2).
    ProtocolVersion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_leaves_the_source_to_the_chain() {
        let error = Error::io(io::Error::other("no such device"));

        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.to_string(), "the connection failed");
        assert_eq!(error.source().unwrap().to_string(), "no such device");
        assert!(
            format!("{error:#}").ends_with(": no such device"),
            "{error:#}"
        );
    }

    #[test]
    fn an_error_of_ours_survives_a_stream() {
        let error = Error::io(io::Error::other(Error::too_large()));

        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.source().is_none());
    }

    #[test]
    fn errors_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
    }
}
