//! What can go wrong: one opaque error, and the kind that says what to do about it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;

type Source = Box<dyn StdError + Send + Sync>;

/// Why a packet could not be read or written. Close the connection after it.
///
/// Neither the text nor the sources hold anything of a packet's content.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: Cow<'static, str>,
    http_status: Option<u16>,
    source: Option<Source>,
}

impl Error {
    /// What went wrong, to match on.
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

    pub(crate) fn malformed(what: &'static str) -> Self {
        Self::new(ErrorKind::Malformed, what)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(ErrorKind::TooLarge, "the packet is too large")
    }

    /// A stream's own error; one of ours that came through a stream stays what it was.
    pub(crate) fn io(source: io::Error) -> Self {
        match source.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => Self::new(ErrorKind::Io, "the connection failed").with_source(source),
        }
    }

    pub(crate) fn with_source(self, source: impl Into<Source>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn with_http_status(self, status: u16) -> Self {
        Self {
            http_status: Some(status),
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
    /// What arrived is not MQTT 3.1.1, or what was to be written would not be.
    Malformed,
    /// What arrived is larger than the limit, or what was to be written is larger than MQTT can say (256 MiB).
    TooLarge,
    /// A CONNECT of another version of MQTT. A server answers
    /// [`UnacceptableProtocolVersion`](crate::ConnectCode::UnacceptableProtocolVersion) and closes (MQTT-3.1.2-2).
    ProtocolVersion,
    /// The server did not switch to WebSocket, or not as it was asked to.
    Upgrade,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_leaves_the_source_to_the_chain() {
        let error = Error::io(io::Error::other("disk on fire"));

        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.to_string(), "the connection failed");
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
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
