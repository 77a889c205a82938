//! The error of parsers.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// A text is not a valid id, key, token, time or document.
///
/// The message names what was expected and what is wrong, and never contains a secret.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {expected}: {reason}")]
pub struct ParseError {
    expected: &'static str,
    reason: Cow<'static, str>,
}

impl ParseError {
    pub(crate) fn new(expected: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            expected,
            reason: reason.into(),
        }
    }

    /// The expected kind of text, such as `registration id`.
    pub fn expected(&self) -> &str {
        self.expected
    }

    /// The reason why the text is not valid.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Debug for ParseError {
    /// The text: what Rust prints for an error that `main` returns, and for `unwrap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes the sources of an error after its own text, where the caller asks for `{:#}`.
///
/// The errors of the dps crates call it at the end of their `Display`: `{}` leaves the sources to
/// [`source`](std::error::Error::source), `{:#}` prints them on the same line, each after `: `.
///
/// # Errors
/// If the formatter fails.
pub fn write_sources(f: &mut fmt::Formatter<'_>, error: &(dyn Error + 'static)) -> fmt::Result {
    let mut source = error.source().filter(|_| f.alternate());
    while let Some(error) = source {
        write!(f, ": {error}")?;
        source = error.source();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layered(&'static str, Option<Box<Self>>);

    impl fmt::Display for Layered {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)?;
            write_sources(f, self)
        }
    }

    impl Error for Layered {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|source| source as _)
        }
    }

    #[test]
    fn the_alternate_form_has_each_source_once() {
        let inner = Layered("refused", None);
        let middle = Layered("no connection", Some(Box::new(inner)));
        let outer = Layered("no answer", Some(Box::new(middle)));
        assert_eq!(format!("{outer}"), "no answer");
        assert_eq!(format!("{outer:#}"), "no answer: no connection: refused");
    }
}
