//! The continuation token of a query.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// A continuation token: the place where a page begins, for the query that returned it.
///
/// Store it as text to continue later, also in another process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Continuation(String);

impl Continuation {
    /// Returns the token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Continuation {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is empty or contains characters that a header cannot contain.
    fn from_str(text: &str) -> Result<Self, Error> {
        match !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::new(
                ErrorKind::Invalid,
                "the text is not a valid continuation token",
            )),
        }
    }
}

impl fmt::Display for Continuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
