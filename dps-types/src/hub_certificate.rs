//! A new certificate from the hub: the request, and the two answers.
//!
//! Source: hub api-version 2025-08-01-preview, over MQTT 3.1.1. The topics are in
//! [`protocol::hub_certificate`](crate::protocol::hub_certificate).

use crate::{DeviceId, Timestamp};

/// The largest certificate request in base64, in bytes.
pub const MAX_CSR_BYTES: usize = 8 * 1024;

lossless! {
    /// A request for a certificate. It has no other members: the service refuses them.
    pub struct IssueCertificateRequest {
        /// The device that sends the request.
        id: DeviceId = "id",
        /// The certificate request: PKCS#10 in DER, in base64, at most [`MAX_CSR_BYTES`].
        csr: String = "csr",
        /// The request in progress to cancel: its request id, or `*` for any.
        replace: Option<String> = "replace",
    }
}

impl IssueCertificateRequest {
    /// Creates a request that replaces none.
    pub fn new(id: DeviceId, csr: impl Into<String>) -> Self {
        Self {
            id,
            csr: csr.into(),
            replace: None,
            extra: Default::default(),
        }
    }
}

lossless! {
    /// The answer with status 202: the request is in progress.
    #[derive(Default)]
    pub struct CertificateRequestAccepted {
        /// Identifies the request in the service's logs.
        correlation_id: Option<String> = "correlationId",
        /// The time at which the service abandons the request.
        operation_expires: Option<Timestamp> = "operationExpires",
    }
}

lossless! {
    /// The answer with status 200: the certificate.
    #[derive(Default)]
    pub struct IssuedCertificates {
        /// Identifies the request in the service's logs.
        correlation_id: Option<String> = "correlationId",
        /// The issued certificate, then its issuers up to the root: DER in base64.
        certificates: Option<Vec<String>> = "certificates",
    }
}
