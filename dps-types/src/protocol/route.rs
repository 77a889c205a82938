//! Taking a path apart, as both APIs do it.

use super::decode;
use crate::ParseError;

/// Why a request has no place to go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// There is no such path.
    #[error("there is no such path")]
    NotFound,
    /// The path exists, the method does not go with it.
    #[error("the method does not go with this path")]
    MethodNotAllowed,
    /// An id in the path is not valid.
    #[error(transparent)]
    BadId(#[from] ParseError),
}

/// The segments of a path, decoded. `None` when one is not UTF-8 or the path does not begin with `/`.
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    path.strip_prefix('/')?.split('/').map(decode).collect()
}
