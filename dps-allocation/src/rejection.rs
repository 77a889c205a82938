//! The rejection of a device by a policy.

use std::error::Error;
use std::fmt;

use dps_types::{ErrorCode, ErrorDetails, PayloadError};

type Source = Box<dyn Error + Send + Sync>;

/// The reason for which a policy did not choose a hub for a device.
///
/// DPS reports only the HTTP status to the device: the registration fails with error code 400207 and
/// `Custom allocation failed with status code: 400`. The message is for the webhook's log and its caller.
///
/// The text does not repeat the source, except with `{:#}`.
///
/// ```
/// use dps_allocation::{Rejection, RejectionKind};
///
/// let rejection = Rejection::new("no hub for model kettle");
/// assert_eq!(rejection.kind(), RejectionKind::Declined);
/// assert_eq!(rejection.status(), 400);
/// ```
// Not derived with thiserror, whose Display cannot print the sources for `{:#}`.
pub struct Rejection {
    kind: RejectionKind,
    status: u16,
    error_code: Option<ErrorCode>,
    message: String,
    source: Option<Source>,
}

/// The kinds of [`Rejection`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// The policy has no hub for this device. Another policy may have one.
    Declined,
    /// The policy cannot decide, because something that it needs has failed or did not answer in time: a database, a
    /// webhook, the network. The same request may succeed later.
    Unavailable,
    /// A webhook answered with something that is not a valid allocation response. Correct the webhook, or the URL if
    /// another server answered.
    Protocol,
}

impl Rejection {
    /// The HTTP status that a webhook answers with if the policy does not set one: 400 Bad Request.
    pub const DEFAULT_STATUS: u16 = 400;
    /// The HTTP status of [`Rejection::unavailable`]: 503 Service Unavailable.
    pub const UNAVAILABLE_STATUS: u16 = 503;

    /// The policy has no hub for this device, for this reason. The reason is logged and sent: it must contain no secrets.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            kind: RejectionKind::Declined,
            status: Self::DEFAULT_STATUS,
            error_code: None,
            message: message.into(),
            source: None,
        }
    }

    /// The policy cannot decide now, for this reason. The reason is logged and sent: it must contain no secrets.
    ///
    /// The default status is 503. [`Fallback`](crate::policies::Fallback) does not call the next policy, so that a
    /// failed database does not assign devices to the default hub.
    ///
    /// ```
    /// # use dps_allocation::{Rejection, RejectionKind};
    /// # fn query() -> std::io::Result<String> { Err(std::io::ErrorKind::TimedOut.into()) }
    /// let hub = query().map_err(|error| {
    ///     Rejection::unavailable("the device database did not answer").with_source(error)
    /// });
    /// assert_eq!(hub.unwrap_err().kind(), RejectionKind::Unavailable);
    /// ```
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(message)
            .with_kind(RejectionKind::Unavailable)
            .with_status(Self::UNAVAILABLE_STATUS)
    }

    /// Sets the HTTP status of the webhook's answer. A status outside 400 to 599 becomes 500. The kind does not change.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = match status {
            400..=599 => status,
            _ => 500,
        };
        self
    }

    /// Sets the service's error code for this reason.
    #[must_use]
    pub fn with_error_code(mut self, error_code: ErrorCode) -> Self {
        self.error_code = Some(error_code);
        self
    }

    /// Sets the cause. It is logged but not sent.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind, to match on.
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// Returns the HTTP status of the webhook's answer.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the service's error code, if one was set.
    pub fn error_code(&self) -> Option<ErrorCode> {
        self.error_code
    }

    /// Returns the reason.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn with_kind(mut self, kind: RejectionKind) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn with_message(mut self, message: String) -> Self {
        self.message = message;
        self
    }

    pub(crate) fn to_error_details(&self) -> ErrorDetails {
        let mut details = ErrorDetails::default();
        details.error_code = self.error_code;
        details.message = Some(self.message.clone());
        details
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Debug for Rejection {
    /// The kind, and the text with all sources: what Rust prints for an error that `main` returns, and for `unwrap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        dps_types::write_sources(f, self)
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
        assert_eq!(Rejection::new("no hub").status(), 400);
        for (set, answered) in [
            (400, 400),
            (404, 404),
            (599, 599),
            (200, 500),
            (302, 500),
            (600, 500),
            (0, 500),
        ] {
            let rejection = Rejection::new("no hub").with_status(set);
            assert_eq!(rejection.status(), answered);
        }
    }

    #[test]
    fn the_kind_does_not_depend_on_the_status() {
        let full = Rejection::new("every hub is full").with_status(503);
        assert_eq!(full.kind(), RejectionKind::Declined);
        let down = Rejection::unavailable("the database is not reachable");
        assert_eq!(
            (down.kind(), down.status()),
            (RejectionKind::Unavailable, 503)
        );
        let down = down.with_status(400);
        assert_eq!(
            (down.kind(), down.status()),
            (RejectionKind::Unavailable, 400)
        );
    }

    #[test]
    fn only_the_alternate_form_prints_the_source() {
        let rejection = Rejection::unavailable("the database is not reachable")
            .with_source(std::io::Error::other("no space left"))
            .with_error_code(ErrorCode::HUB_NOT_SPECIFIED);
        assert_eq!(rejection.to_string(), "the database is not reachable");
        assert_eq!(
            format!("{rejection:#}"),
            "the database is not reachable: no space left"
        );
        assert_eq!(rejection.source().unwrap().to_string(), "no space left");
        assert_eq!(rejection.error_code().unwrap().get(), 400_208);
    }
}
