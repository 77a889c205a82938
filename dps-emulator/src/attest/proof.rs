//! The result of an attestation, as a registration record keeps it.

use dps_types::EnrollmentGroupId;
use serde::{Deserialize, Serialize};

use super::tpm::TpmProof;

/// The enrollment through which a device registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum EnrollmentRef {
    Individual,
    Group(EnrollmentGroupId),
}

/// The proof of identity that a device sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Proof {
    SymmetricKey,
    /// A group's key, derived from the registration id in lower case.
    LowerCaseKey,
    X509 {
        /// Base64 of the leaf certificate's DER.
        leaf: String,
    },
    Tpm(Box<TpmProof>),
}

impl Proof {
    pub(crate) fn tpm(&self) -> Option<&TpmProof> {
        match self {
            Self::Tpm(proof) => Some(proof),
            _ => None,
        }
    }
}
