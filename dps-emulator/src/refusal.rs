//! Why a request is refused, in the service's words.

use dps_types::tpm::AuthenticationKey;
use dps_types::{ErrorCode, ParseError};

use crate::state::store::StoreError;

/// A request that is refused: an error code, whose first three digits are the HTTP status, and a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// What `Retry-After` is to say, when it is not the usual.
    pub(crate) retry_after_seconds: Option<u64>,
    /// What a TPM is to prove itself with: then this is the service's challenge, which has no error code.
    pub(crate) challenge: Option<Box<AuthenticationKey>>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_seconds: None,
            challenge: None,
        }
    }

    pub(crate) fn with_retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..self
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

    /// 401: a TPM must prove itself. The service's own words.
    pub(crate) fn challenge(key: AuthenticationKey) -> Self {
        let message = "Authorization required, resend request using supplied key";
        Self {
            challenge: Some(Box::new(key)),
            ..Self::new(ErrorCode::UNAUTHORIZED, message)
        }
    }

    /// 404201: it is who it says, and nobody enrolled it.
    pub(crate) fn not_enrolled() -> Self {
        Self::new(ErrorCode::ENROLLMENT_NOT_FOUND, "Enrollment not found.")
    }

    /// 401002, for a certificate. The service's own words.
    pub(crate) fn invalid_certificate() -> Self {
        Self::new(ErrorCode::UNAUTHORIZED, "Invalid certificate.")
    }

    /// 409203: someone else wrote at the same time.
    pub(crate) fn conflict() -> Self {
        Self::new(ErrorCode::REGISTRATION_CONFLICT, "Precondition failed.")
    }

    /// 412001: the ETag is not the current one.
    pub(crate) fn precondition() -> Self {
        Self::new(ErrorCode::PRECONDITION_FAILED, "Precondition failed.")
    }

    /// 413001: a body of more bytes than there may be.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            ErrorCode::MESSAGE_TOO_LARGE,
            format!("The body is larger than {limit} bytes."),
        )
    }

    /// 403002: there are as many as there may be.
    pub(crate) fn quota(what: &str, most: u64) -> Self {
        Self::new(
            ErrorCode::QUOTA_EXCEEDED,
            format!("The instance takes {most} {what}, and there are as many."),
        )
    }

    /// 501001: the real service can, this emulator cannot. A code of our own.
    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(
            ErrorCode::new(501_001),
            format!("This emulator does not have {what}."),
        )
    }

    pub(crate) fn status(&self) -> u16 {
        self.code.http_status()
    }

    /// Whether the same request may fare better later: then the answer says when. What is not implemented stays so.
    pub(crate) fn is_transient(&self) -> bool {
        match self.status() {
            501 => false,
            status => status == 429 || status >= 500,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
        Self::new(
            ErrorCode::SERVER_ERROR,
            "The store failed; the emulator's log says why.",
        )
    }
}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Self {
        Self::invalid(error.to_string())
    }
}
