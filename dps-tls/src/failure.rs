//! Finds the cause of an error that another library wraps: a TLS failure, or a network failure.

use std::error::Error;
use std::{io, iter};

/// Returns true if the cause is an error of rustls. A TLS failure does not recover by itself, a network failure may.
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

/// An error and all its sources, including the error inside an I/O error, which `source` skips.
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
    fn an_error_of_rustls_is_found_behind_wrappers() {
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
