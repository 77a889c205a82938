//! The faults of an issued chain. A fault is the source of an error of the kind `Certificate`.

use std::error::Error as StdError;
use std::fmt;

use dps_types::{RegistrationId, Timestamp};

use crate::error::{Error, ErrorKind};

/// The maximum number of certificates in an issued chain. The service sends three.
pub(super) const MAX_CERTIFICATES: usize = 8;

/// A fault of the certificates that a service issued: the source of an error of the kind
/// [`Certificate`](ErrorKind::Certificate). Positions count from 1, and the device's certificate is 1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// The service assigned the device but issued no certificate. Check that the enrollment names a namespace, a certificate
    /// authority and a policy.
    Missing,
    /// The chain has more certificates than [`IssuedCertificate::MAX_CERTIFICATES`](super::IssuedCertificate::MAX_CERTIFICATES).
    #[non_exhaustive]
    TooMany {
        /// The number of certificates.
        found: usize,
    },
    /// The chain has the device's certificate but not its issuer.
    NoIssuer,
    /// A certificate is not valid base64 of a DER certificate.
    #[non_exhaustive]
    Malformed {
        /// Its position in the chain.
        position: usize,
    },
    /// A certificate was not issued by the next one in the chain.
    #[non_exhaustive]
    Order {
        /// The position of the certificate whose issuer does not follow.
        position: usize,
    },
    /// A signature, an extension or a key usage in the chain is not valid.
    #[non_exhaustive]
    Invalid {
        /// The reason.
        reason: String,
    },
    /// A certificate is not valid yet. Check the clock of the device.
    #[non_exhaustive]
    NotYetValid {
        /// Its position in the chain.
        position: usize,
        /// The start of its validity.
        from: Timestamp,
    },
    /// A certificate has expired. Check the clock of the device.
    #[non_exhaustive]
    Expired {
        /// Its position in the chain.
        position: usize,
        /// The end of its validity.
        until: Timestamp,
    },
    /// The common name of the device's certificate is not the registration id.
    #[non_exhaustive]
    OtherDevice {
        /// The common name. `None` if the certificate has none.
        found: Option<String>,
        /// The registration id of the device.
        expected: RegistrationId,
    },
    /// The device's certificate has another public key than the request.
    OtherKey,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "the answer assigns the device but has no issuedCertificateChain: check that the enrollment names a namespace, a \
                 certificate authority and a policy",
            ),
            Self::TooMany { found } => write!(
                f,
                "the chain has {found} certificates: at most {} are accepted",
                MAX_CERTIFICATES
            ),
            Self::NoIssuer => {
                f.write_str("the chain has only the device's certificate: its issuer is missing")
            }
            Self::Malformed { position } => write!(
                f,
                "certificate {position} of the chain is not base64 of a DER certificate"
            ),
            Self::Order { position } => write!(
                f,
                "certificate {position} of the chain was not issued by the next one"
            ),
            Self::Invalid { reason } => write!(f, "the chain is not valid: {reason}"),
            Self::NotYetValid { position, from } => write!(
                f,
                "certificate {position} of the chain is not valid before {from}: check the clock of the device"
            ),
            Self::Expired { position, until } => write!(
                f,
                "certificate {position} of the chain expired at {until}: check the clock of the device"
            ),
            Self::OtherDevice {
                found: Some(found),
                expected,
            } => write!(
                f,
                "the certificate is for {found:?}, the registration id of the device is {expected}"
            ),
            Self::OtherDevice { found: None, .. } => f.write_str("the certificate has no common name"),
            Self::OtherKey => {
                f.write_str("the certificate has another public key than the request of the device")
            }
        }
    }
}

impl StdError for CertificateFault {}

impl From<CertificateFault> for Error {
    fn from(fault: CertificateFault) -> Self {
        Self::new(
            ErrorKind::Certificate,
            "the service did not issue a usable certificate",
        )
        .with_source(fault)
    }
}
