//! The error of this crate.

use std::error::Error as StdError;
use std::fmt;

/// The connection of a container cannot be read. `{:#}` prints the message and all its sources.
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

impl fmt::Debug for Error {
    /// The kind, and the text with all sources: what Rust prints for an error that `main` returns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        let mut source = self.source().filter(|_| f.alternate());
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_sources() {
        let source = std::io::Error::other("no engine");
        let error = Error::engine("a port of the container is not mapped", source);
        assert_eq!(error.to_string(), "a port of the container is not mapped");
        let whole = "a port of the container is not mapped: no engine";
        assert_eq!(format!("{error:#}"), whole);
        assert_eq!(format!("{error:?}"), format!("Engine: {whole}"));
    }
}
