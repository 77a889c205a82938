//! The error of this crate, and its kinds.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

type Source = Box<dyn StdError + Send + Sync>;

/// An error while roots, an identity or a configuration are created.
///
/// A retry with the same input fails again. Neither the text nor the sources hold bytes of a
/// private key.
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

    pub(crate) fn with_source(self, source: impl Into<Source>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self {
            what: format!("{}: {}", path.display(), self.what).into(),
            ..self
        }
    }
}

/// The kinds of [`Error`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input holds no certificate, or the chain is empty: provide one.
    NoCertificate,
    /// A certificate is not valid PEM or X.509: correct the input.
    MalformedCertificate,
    /// The input holds no private key: provide one.
    NoKey,
    /// The private key is not valid PEM, or not PKCS#8, SEC1 or PKCS#1, or there are several: correct the input.
    MalformedKey,
    /// The input is a container or an encoding other than PEM and DER, such as PKCS#12 or UTF-16: convert it with the
    /// command that the message names.
    UnsupportedFormat,
    /// The private key is protected by a password: decrypt it first.
    EncryptedKey,
    /// The private key cannot be used: its algorithm or size is not supported, or its content is damaged.
    UnsupportedKey,
    /// The private key does not belong to the first certificate of the chain: check both files.
    KeyMismatch,
    /// The platform's certificate store holds no usable root: install one, or configure the roots.
    SystemRoots,
    /// A proxy has no valid host, port or URL: correct it.
    InvalidProxy,
    /// A file could not be read: check its path and permissions.
    Read,
    /// rustls refused the configuration. Not expected: please report it.
    Config,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_leaves_the_source_to_the_chain() {
        let error = Error::new(ErrorKind::Read, "the file could not be read")
            .with_source(std::io::Error::other("no such device"))
            .in_file(Path::new("a.pem"));

        assert_eq!(error.to_string(), "a.pem: the file could not be read");
        assert_eq!(error.source().unwrap().to_string(), "no such device");
        assert!(
            format!("{error:#}").ends_with(": no such device"),
            "{error:#}"
        );
        assert_eq!(error.kind(), ErrorKind::Read);
    }

    #[test]
    fn errors_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
    }
}
