//! Splits paths for both APIs.

use super::decode;
use crate::ParseError;

/// The reason why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The path does not exist.
    #[error("the path does not exist")]
    NotFound,
    /// The path exists, but the method is not allowed for it.
    #[error("the method is not allowed for this path")]
    MethodNotAllowed,
    /// An id in the path is not valid.
    #[error(transparent)]
    BadId(#[from] ParseError),
}

/// The segments of a path, decoded. `None` when one is not UTF-8 or the path does not begin with `/`.
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    path.strip_prefix('/')?.split('/').map(decode).collect()
}
