//! An answer in the service's shape, before a transport writes it.

use dps_types::{ErrorCode, ErrorDetails, Timestamp, TpmChallenge};
use serde::Serialize;

use crate::fault::NOT_JSON;
use crate::service_error::ServiceError;

/// Status, `Retry-After` and body: all that HTTP, MQTT and other transports have in common. The body may hold keys, so
/// there is no `Debug`.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The service's code, in an error that has one.
    pub(super) error_code: Option<ErrorCode>,
    /// In seconds.
    pub(super) retry_after: Option<u64>,
    /// The id in the body of an error, and in a header over HTTPS.
    pub(super) tracking_id: String,
    pub(super) body: Vec<u8>,
    pub(super) delivery: Delivery,
}

/// How an MQTT answer is sent. Other transports have no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Once,
    /// A fault.
    Twice,
    /// A fault: with the `$rid` of another request.
    ToAnotherRequest,
}

impl Answer {
    /// A JSON document.
    pub(super) fn json(status: u16, document: &impl Serialize) -> Self {
        match serde_json::to_vec(document) {
            Ok(body) => Self::new(status, body),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written as JSON");
                Self::new(500, Vec::new())
            }
        }
    }

    /// An error with its code, or a TPM's challenge. `retry_after` is the instance's usual value.
    pub(super) fn error(error: &ServiceError, retry_after: u64) -> Self {
        if let Some(key) = &error.challenge {
            let mut challenge = TpmChallenge::new(key.to_base64());
            let message = error.message();
            challenge.extra.insert("message".to_owned(), message);
            return Self::json(error.status(), &challenge);
        }
        let tracking_id = new_tracking_id();
        let mut details = ErrorDetails::new(error.code(), error.message());
        details.tracking_id = Some(tracking_id.clone());
        details.timestamp_utc = Some(Timestamp::now());
        Self {
            error_code: Some(error.code()),
            retry_after: error.retry_after(retry_after),
            tracking_id,
            ..Self::json(error.status(), &details)
        }
    }

    /// Status 200 and a body that is not JSON, which a fault asked for.
    pub(super) fn malformed() -> Self {
        Self::new(200, NOT_JSON.to_vec())
    }

    pub(super) fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            error_code: None,
            retry_after: None,
            tracking_id: new_tracking_id(),
            body,
            delivery: Delivery::Once,
        }
    }

    pub(super) fn with_retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }
}

fn new_tracking_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
