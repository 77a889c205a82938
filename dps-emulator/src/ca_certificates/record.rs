//! A CA certificate in the store.

use dps_types::{ETag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::service_error::ServiceError;
use crate::state::{State, decode, encode};

/// A CA certificate of the instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CaCertificate {
    /// The name that `caReferences` use, in the case of its creation.
    pub(crate) name: String,
    /// Base64 of the DER.
    pub(crate) der: String,
    /// True if there is a proof of possession, or the upload declared one.
    pub(crate) is_verified: bool,
    /// The common name that the next verification certificate requires.
    pub(crate) verification_code: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) etag: ETag,
}

impl CaCertificate {
    /// Makes a record without a proof of possession.
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

    /// Reads the certificate. It was valid when it was stored.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        Certificate::from_text(&self.der).ok()
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<CaCertificate, ServiceError> {
    Ok(decode(bytes)?)
}

pub(super) fn write(ca: &CaCertificate) -> Result<Vec<u8>, ServiceError> {
    encode(ca)
}
