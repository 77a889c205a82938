//! Errors that the emulator answers with, in the service's codes and words.

use dps_types::tpm::AuthenticationKey;
use dps_types::{ErrorCode, ParseError};
use serde::{Deserialize, Serialize};

/// An error code, whose first three digits are the HTTP status, and the message that the service sends with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceFailure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl ServiceFailure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// The answer to a request that the emulator refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceError {
    failure: ServiceFailure,
    /// The expected and the found value, for the log only. The service does not send it to clients.
    reason: Option<String>,
    /// The value of `Retry-After`, if it differs from the instance's.
    pub(crate) retry_after_seconds: Option<u64>,
    /// The key that a TPM must open. With it the answer is the service's challenge, which has no error code.
    pub(crate) challenge: Option<Box<AuthenticationKey>>,
}

impl ServiceError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ServiceFailure::new(code, message).into()
    }

    pub(crate) fn with_retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..self
        }
    }

    /// Adds what an operator needs to find the cause. It appears in the log and in no answer, and must hold no secret.
    pub(crate) fn with_reason(self, reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..self
        }
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.failure.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.failure.message
    }

    /// The text for the log: the reason, or the message if there is no reason.
    pub(crate) fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or(&self.failure.message)
    }

    pub(crate) fn status(&self) -> u16 {
        self.failure.code.http_status()
    }

    /// The value of `Retry-After` in the answer, in seconds. `usual` is the instance's.
    pub(crate) fn retry_after(&self, usual: u64) -> Option<u64> {
        let seconds = self.retry_after_seconds.unwrap_or(usual);
        self.is_transient().then_some(seconds)
    }

    /// True if the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self.status() {
            501 => false,
            status => status == 429 || status >= 500,
        }
    }

    /// 400004: a value is not valid.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ARGUMENT_INVALID, message)
    }

    /// 401002, for a token or key.
    pub(crate) fn unauthorized() -> Self {
        Self::new(ErrorCode::UNAUTHORIZED, "Unauthorized")
    }

    /// 401: the service's challenge to a TPM, with the service's message.
    pub(crate) fn challenge(key: AuthenticationKey) -> Self {
        let message = "Authorization required, resend request using supplied key";
        Self {
            challenge: Some(Box::new(key)),
            ..Self::new(ErrorCode::UNAUTHORIZED, message)
        }
    }

    /// 404201: the proof is valid, but there is no enrollment for the device.
    pub(crate) fn not_enrolled() -> Self {
        Self::new(ErrorCode::ENROLLMENT_NOT_FOUND, "Enrollment not found.")
    }

    /// 401002, for a certificate, with the service's message.
    pub(crate) fn invalid_certificate() -> Self {
        Self::new(ErrorCode::UNAUTHORIZED, "Invalid certificate.")
    }

    /// 409203: another request wrote at the same time.
    pub(crate) fn conflict() -> Self {
        Self::new(ErrorCode::REGISTRATION_CONFLICT, "Precondition failed.")
    }

    /// 412001: the ETag is not the current one.
    pub(crate) fn precondition() -> Self {
        Self::new(ErrorCode::PRECONDITION_FAILED, "Precondition failed.")
    }

    /// 413001: the body is larger than the limit.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            ErrorCode::MESSAGE_TOO_LARGE,
            format!("The body is larger than {limit} bytes."),
        )
    }

    /// 403002: the instance's quota is used up.
    pub(crate) fn quota(what: &str, most: u64) -> Self {
        Self::new(
            ErrorCode::QUOTA_EXCEEDED,
            format!("The instance has reached its quota of {most} {what}."),
        )
    }

    /// 501001: the real service supports this, the emulator does not. The code is the emulator's own.
    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(
            ErrorCode::new(501_001),
            format!("The emulator does not support {what}."),
        )
    }
}

impl From<ServiceFailure> for ServiceError {
    fn from(failure: ServiceFailure) -> Self {
        Self {
            failure,
            reason: None,
            retry_after_seconds: None,
            challenge: None,
        }
    }
}

impl From<ServiceError> for ServiceFailure {
    fn from(error: ServiceError) -> Self {
        error.failure
    }
}

impl From<ParseError> for ServiceError {
    fn from(error: ParseError) -> Self {
        Self::invalid(error.to_string())
    }
}
