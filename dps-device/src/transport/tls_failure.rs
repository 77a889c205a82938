//! What is behind a secure connection that failed: a key that could not sign, or TLS itself.

use std::error::Error as StdError;

use dps_tls::causes;
use dps_types::sas::SignError;

use crate::error::ErrorKind;

/// The kind of a failure that TLS is at the root of, and what to say about it.
pub(super) fn kind_of(error: &(dyn StdError + 'static)) -> Option<(ErrorKind, &'static str)> {
    let tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>())?;
    Some(match tls {
        rustls::Error::Other(other) if other.0.is::<SignError>() => {
            (ErrorKind::Signing, "the key could not sign")
        }
        _ => (ErrorKind::Tls, "there is no secure connection"),
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_key_that_does_not_sign_is_told_from_a_certificate_that_is_not_trusted() {
        let kind = |error: rustls::Error| kind_of(&io::Error::other(error)).map(|(kind, _)| kind);
        let unsigned = rustls::OtherError(Arc::new(SignError::new("the token is gone")));
        assert_eq!(
            kind(rustls::Error::Other(unsigned)),
            Some(ErrorKind::Signing)
        );
        assert_eq!(kind(rustls::Error::DecryptError), Some(ErrorKind::Tls));
        assert_eq!(kind_of(&io::Error::other("no route")), None);
    }
}
