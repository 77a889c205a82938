//! The credentials that a device presents, over every transport.

use dps_types::sas::SasToken;

use super::PresentedChain;
use crate::service_error::ServiceError;

/// The credentials that a device presents.
#[derive(Debug, Clone)]
pub(crate) enum Presented<'a> {
    /// Neither a token nor a certificate.
    Nothing,
    Token(SasToken),
    Chain(&'a PresentedChain),
}

impl<'a> Presented<'a> {
    /// Reads the token, which comes from the `Authorization` header or the MQTT password. A token takes precedence over a
    /// client certificate. An empty text counts as no token.
    ///
    /// # Errors
    /// 401002 if the text is not a shared access signature. The reason does not repeat the text.
    pub(crate) fn of(
        token: Option<&str>,
        chain: Option<&'a PresentedChain>,
    ) -> Result<Self, ServiceError> {
        match (token.filter(|text| !text.trim().is_empty()), chain) {
            (Some(text), _) => text.parse().map(Self::Token).map_err(|error| {
                ServiceError::unauthorized().with_reason(format!(
                    "the token is not a shared access signature: {error}"
                ))
            }),
            (None, Some(chain)) => Ok(Self::Chain(chain)),
            (None, None) => Ok(Self::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::chain::tests::presented_leaf;

    const TOKEN: &str = "SharedAccessSignature sr=scope%2Fregistrations%2Fd1&sig=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE%3D&se=1";

    #[test]
    fn a_token_takes_precedence_over_a_certificate() {
        let chain = presented_leaf();
        let of = |token| Presented::of(token, Some(&chain)).unwrap();
        assert!(matches!(of(Some(TOKEN)), Presented::Token(_)));
        assert!(matches!(of(Some(" ")), Presented::Chain(_)));
        assert!(matches!(of(None), Presented::Chain(_)));
        assert!(matches!(Presented::of(None, None), Ok(Presented::Nothing)));
    }

    #[test]
    fn a_text_that_is_not_a_token_is_refused_without_repeating_it() {
        let chain = presented_leaf();
        let error = Presented::of(Some("Basic c2VjcmV0"), Some(&chain)).unwrap_err();
        assert_eq!(error.status(), 401);
        assert!(error.reason().contains("not a shared access signature"));
        assert!(!error.reason().contains("c2VjcmV0"));
    }
}
