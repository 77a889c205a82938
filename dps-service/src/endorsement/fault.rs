//! The reasons why the certificate of an endorsement key is refused.

use dps_types::Timestamp;

/// The reason why a certificate does not confirm an endorsement key: the source of an [`Error`](crate::Error) of the kind
/// [`Endorsement`](crate::ErrorKind::Endorsement).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndorsementFault {
    /// It expired at this time.
    Expired(Timestamp),
    /// It is not a certificate, or is damaged.
    Malformed {
        /// The reason why it cannot be read.
        reason: String,
    },
    /// It is not a certificate for an endorsement key.
    NotForEndorsement {
        /// The missing or wrong part.
        reason: String,
    },
    /// It is valid from this time on.
    NotYetValid(Timestamp),
    /// It is for another endorsement key: that of another TPM, or one that this TPM created with another template.
    OtherKey,
    /// No trusted manufacturer has issued it.
    Untrusted {
        /// The check of the chain that failed.
        reason: String,
    },
}

impl std::fmt::Display for EndorsementFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired(time) => write!(f, "the certificate expired at {time}"),
            Self::Malformed { reason } => write!(f, "the certificate cannot be read: {reason}"),
            Self::NotForEndorsement { reason } => write!(
                f,
                "the certificate is not the manufacturer's for an endorsement key: {reason}"
            ),
            Self::NotYetValid(time) => write!(f, "the certificate is valid from {time} on"),
            Self::OtherKey => f.write_str(
                "the certificate is for another endorsement key: it is of another TPM, or the TPM created its key with another \
                 template than the TCG's",
            ),
            Self::Untrusted { reason } => write!(
                f,
                "the certificate has no valid chain to a trusted manufacturer: {reason}; check that the roots and intermediates \
                 of the manufacturer are complete"
            ),
        }
    }
}

impl std::error::Error for EndorsementFault {}
