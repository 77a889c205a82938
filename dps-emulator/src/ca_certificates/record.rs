//! A CA certificate as it is kept.

use dps_types::{ETag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::service_error::ServiceError;
use crate::state::{State, unreadable};

/// A CA certificate of the instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CaCertificate {
    /// What `caReferences` call it, in the case that it was created with.
    pub(crate) name: String,
    /// Base64 of the DER.
    pub(crate) der: String,
    /// Whether the possession of its key is proven, or was declared to be.
    pub(crate) is_verified: bool,
    /// What the next proof must bear.
    pub(crate) verification_code: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) etag: ETag,
}

impl CaCertificate {
    /// A certificate that nothing is proven of.
    pub(super) fn new(name: &str, certificate: &Certificate, state: &State) -> Self {
        let now = state.now();
        Self {
            name: name.to_owned(),
            der: certificate.der_base64(),
            is_verified: false,
            verification_code: None,
            created: now,
            updated: now,
            etag: state.new_version(),
        }
    }

    /// The certificate itself. It was read before it was kept.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        Certificate::from_text(&self.der).ok()
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<CaCertificate, ServiceError> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(&error))
}

pub(super) fn write(ca: &CaCertificate) -> Result<Vec<u8>, ServiceError> {
    serde_json::to_vec(ca).map_err(|error| unreadable(&error))
}
