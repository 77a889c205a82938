//! The certificates that were issued to devices: revocation and expiry.

use std::sync::Arc;

use super::Control;
use super::reply::{self, Answer};
use crate::issuance::IssuanceHandle;

/// `POST /issuedCertificates/{registrationId}/revoke`
pub(super) async fn revoke(control: &Control, registration_id: &str) -> Answer {
    issued(control).revoke(registration_id).await?;
    reply::no_content()
}

/// `POST /issuedCertificates/{registrationId}/expire`
pub(super) async fn expire(control: &Control, registration_id: &str) -> Answer {
    issued(control).expire(registration_id).await?;
    reply::no_content()
}

fn issued(control: &Control) -> IssuanceHandle {
    IssuanceHandle::new(Arc::clone(&control.gateway.instance))
}
