//! The rules of a certificate chain, and the error that reports a violated one.

use crate::certificate::Certificate;

/// The reason for which a chain does not lead to an anchor: the rule, and the certificate that violates it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub(crate) struct ChainError {
    rule: ChainRule,
    detail: String,
}

/// The rules that a chain can violate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChainRule {
    #[error("a certificate of the chain has expired")]
    Expired,
    #[error("a certificate of the chain is not valid yet")]
    NotYetValid,
    #[error("the chain does not lead to a trusted certificate")]
    NotAnchored,
    /// Also for a trusted certificate with the right name and another key.
    #[error("a signature in the chain was not made by the issuer's key")]
    BrokenSignature,
    #[error("the certificate cannot authenticate a TLS client")]
    NotForClients,
    /// Not an authority, a path that is too long below it, or a name that it may not sign.
    #[error("a certificate of the chain signed what it may not sign")]
    NotPermitted,
    #[error("the chain requires too much work")]
    TooComplex,
    #[error("a certificate of the chain is malformed or of an unsupported kind")]
    Malformed,
}

impl ChainError {
    pub(in crate::attest) fn new(rule: ChainRule, detail: impl Into<String>) -> Self {
        Self {
            rule,
            detail: detail.into(),
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn rule(&self) -> ChainRule {
        self.rule
    }

    pub(in crate::attest) fn from_webpki(error: &webpki::Error, certificate: &Certificate) -> Self {
        use webpki::Error as E;
        let rule = match error {
            E::CertExpired { .. } => ChainRule::Expired,
            E::CertNotValidYet { .. } => ChainRule::NotYetValid,
            E::UnknownIssuer => ChainRule::NotAnchored,
            E::InvalidSignatureForPublicKey => ChainRule::BrokenSignature,
            E::CaUsedAsEndEntity | E::EmptyEkuExtension | E::RequiredEkuNotFoundContext(_) => {
                ChainRule::NotForClients
            }
            E::EndEntityUsedAsCa
            | E::NameConstraintViolation
            | E::PathLenConstraintViolated
            | E::MaximumPathDepthExceeded => ChainRule::NotPermitted,
            E::MaximumSignatureChecksExceeded | E::MaximumPathBuildCallsExceeded => {
                ChainRule::TooComplex
            }
            _ => ChainRule::Malformed,
        };
        Self::new(rule, format!("'{}': {error}", certificate.subject()))
    }
}
