//! What can go wrong: one opaque error, and the kind that says who must act.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::path::Path;

type Source = Box<dyn StdError + Send + Sync>;

/// Why roots, an identity or a configuration could not be made.
///
/// None of these goes away by trying again with the same input. Neither the text nor the sources hold bytes of a
/// private key.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: Cow<'static, str>,
    source: Option<Source>,
}

impl Error {
    /// What went wrong, to match on.
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
    /// The input holds no certificate, or the chain is empty: supply one.
    NoCertificate,
    /// A certificate is not sound PEM or X.509: fix the input.
    MalformedCertificate,
    /// The input holds no private key: supply one.
    NoKey,
    /// The private key is not sound PEM, or not PKCS#8, SEC1 or PKCS#1, or there are several: correct the input.
    MalformedKey,
    /// The input is a container or an encoding other than PEM and DER, such as PKCS#12 or UTF-16: convert it with the
    /// command that the message names.
    UnsupportedFormat,
    /// The private key is protected by a password: decrypt it first.
    EncryptedKey,
    /// The private key cannot be used: its algorithm or size is not supported, or its content is damaged.
    UnsupportedKey,
    /// The private key does not belong to the first certificate of the chain: bring the two together.
    KeyMismatch,
    /// The platform's store was asked for and holds no usable root: install one, or name the roots.
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
            .with_source(std::io::Error::other("disk on fire"))
            .in_file(Path::new("a.pem"));

        assert_eq!(error.to_string(), "a.pem: the file could not be read");
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
        assert_eq!(error.kind(), ErrorKind::Read);
    }

    #[test]
    fn errors_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
    }
}
