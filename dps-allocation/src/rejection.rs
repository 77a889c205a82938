//! Why there is no hub for a device.

use std::error::Error;
use std::fmt;

use dps_types::{ErrorCode, ErrorDetails, PayloadError};

type Source = Box<dyn Error + Send + Sync>;

/// A policy's no.
///
/// DPS shows the device the HTTP status and nothing more: the registration fails with error code 400207 and
/// `Custom allocation failed with status code: 400`. The message is for the webhook's log and its caller.
///
/// The text does not repeat the source.
#[derive(Debug)]
pub struct Rejection {
    status: u16,
    error_code: Option<ErrorCode>,
    message: String,
    source: Option<Source>,
}

impl Rejection {
    /// What a webhook answers when the policy does not say: 400 Bad Request.
    pub const DEFAULT_STATUS: u16 = 400;

    /// A no, with its reason. Keep secrets out: the reason is logged and sent.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            status: Self::DEFAULT_STATUS,
            error_code: None,
            message: message.into(),
            source: None,
        }
    }

    /// The HTTP status that the webhook answers. Anything but 400 to 599 becomes 500.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = match status {
            400..=599 => status,
            _ => 500,
        };
        self
    }

    /// The code for it, where the service has one.
    #[must_use]
    pub fn with_error_code(mut self, error_code: ErrorCode) -> Self {
        self.error_code = Some(error_code);
        self
    }

    /// What caused it. It is logged, and not sent.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The HTTP status that the webhook answers.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The service's code for it.
    pub fn error_code(&self) -> Option<ErrorCode> {
        self.error_code
    }

    /// The reason.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn with_message(mut self, message: String) -> Self {
        self.message = message;
        self
    }

    pub(crate) fn to_error_details(&self) -> ErrorDetails {
        let mut problem = ErrorDetails::default();
        problem.error_code = self.error_code;
        problem.message = Some(self.message.clone());
        problem
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<PayloadError> for Rejection {
    fn from(error: PayloadError) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failure_status_is_answered() {
        assert_eq!(Rejection::new("no").status(), 400);
        for (given, answered) in [
            (400, 400),
            (404, 404),
            (599, 599),
            (200, 500),
            (302, 500),
            (600, 500),
            (0, 500),
        ] {
            assert_eq!(Rejection::new("no").with_status(given).status(), answered);
        }
    }

    #[test]
    fn the_text_leaves_the_source_to_the_chain() {
        let rejection = Rejection::new("the database is away")
            .with_source(std::io::Error::other("disk on fire"))
            .with_error_code(ErrorCode::HUB_NOT_SPECIFIED);
        assert_eq!(rejection.to_string(), "the database is away");
        assert_eq!(rejection.source().unwrap().to_string(), "disk on fire");
        assert_eq!(rejection.error_code().unwrap().get(), 400_208);
    }
}
