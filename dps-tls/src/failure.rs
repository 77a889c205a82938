//! What stands behind an error that another library wraps: whether TLS failed, or the network beneath it.

use std::error::Error;
use std::{io, iter};

/// Whether rustls is at the root of it: then it will not get better by itself, as what the network does may.
///
/// ```
/// use dps_tls::is_tls_failure;
///
/// let tls = std::io::Error::other(rustls::Error::DecryptError);
/// assert!(is_tls_failure(&tls));
/// assert!(!is_tls_failure(&std::io::Error::other("no route")));
/// ```
pub fn is_tls_failure(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(<dyn Error>::is::<rustls::Error>)
}

/// An error and all that is behind it, what an I/O error wraps included: asked for its source, that passes over it.
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    iter::successors(Some(error), |error| {
        let error: &'e (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn rustls_is_found_behind_wrappers_and_nothing_else_is_taken_for_it() {
        let tls = || rustls::Error::DecryptError;
        assert!(is_tls_failure(&tls()));
        assert!(is_tls_failure(&Outer(io::Error::other(tls()))));
        assert!(is_tls_failure(&Outer(io::Error::other(Outer(
            io::Error::other(tls())
        )))));
        assert!(!is_tls_failure(&Outer(
            io::ErrorKind::ConnectionReset.into()
        )));
        assert_eq!(causes(&Outer(io::Error::other(tls()))).count(), 3);
    }
}
