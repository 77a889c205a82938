//! Why a text is not what it should be.

use std::borrow::Cow;

/// A text that is not a valid name, key, token, time or document.
///
/// It says what was expected and what is wrong, and never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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

    /// What the text should have been, such as `registration id`.
    pub fn expected(&self) -> &str {
        self.expected
    }

    /// What is wrong with it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
