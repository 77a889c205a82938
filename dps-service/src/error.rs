//! What can go wrong: one opaque error, and the kind that says who must act.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dps_types::ErrorDetails;

/// Why an operation did not succeed.
///
/// Neither the text nor the sources hold a key or a token.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    what: Cow<'static, str>,
    status: Option<u16>,
    details: Option<ErrorDetails>,
    retry_after: Option<Duration>,
    in_doubt: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// What went wrong, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The service's own account: error code, tracking id, message.
    pub fn error_details(&self) -> Option<&ErrorDetails> {
        self.0.details.as_ref()
    }

    /// The HTTP status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// How long the service asks to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same operation may succeed later.
    ///
    /// The client has repeated it already, where it was safe, until the deadline or until it had tried eight times. A
    /// write that failed in this way may have been carried out all the same: read before you write again.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Connect
                | ErrorKind::Deadline
                | ErrorKind::NotAttempted
                | ErrorKind::Service
                | ErrorKind::Throttled
        )
    }

    /// Whether an attempt may have been carried out although no answer says so: its connection broke, or nothing came in
    /// time, or the service failed in the middle.
    ///
    /// An [`ErrorKind::Conflict`] in doubt, as bulk operations report it, may be the work of the attempt that was lost.
    pub fn is_in_doubt(&self) -> bool {
        self.0.in_doubt
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            what: what.into(),
            status: None,
            details: None,
            retry_after: None,
            in_doubt: false,
            source: None,
        }))
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_details(mut self, details: Option<ErrorDetails>) -> Self {
        self.0.details = details;
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    pub(crate) fn in_doubt_if(mut self, doubt: bool) -> Self {
        self.0.in_doubt |= doubt;
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        match &self.0.details {
            Some(details) => write!(f, ": {details}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

/// The kinds of [`Error`].
///
/// What the client repeats before it reports a kind is told in the [crate's documentation](crate#waiting-and-repeating).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller's own change to an enrollment failed: the source says why. Nothing was written.
    Change,
    /// It exists already (409): replace it, or read it, change it and update it.
    Conflict,
    /// No connection, or it broke before the answer was there: check the host name and the network. Repeated.
    Connect,
    /// No answer came: not within 30 seconds, or not before the deadline. Repeated until then.
    Deadline,
    /// The policy, or the role behind the token, does not allow this, or a quota is used up (403).
    Forbidden,
    /// The request is not right (another 4xx, mostly 400, or an update without an ETag): the message names what to fix.
    Invalid,
    /// The connection string, the host, the proxy or the roots cannot be used: fix the configuration.
    InvalidConfiguration,
    /// The token provider has no token: the source says why. Nothing was sent.
    NoToken,
    /// An item of a bulk operation that was not sent, since an earlier request failed for good: the source says why.
    NotAttempted,
    /// There is no such enrollment, group or registration record (404).
    NotFound,
    /// It has changed since it was read (412): read it again, change it, write it.
    PreconditionFailed,
    /// The answer is not one of this API: check that the host is a Device Provisioning Service.
    Protocol,
    /// The service failed or is not available (5xx but 501, 408): try again later. Repeated.
    Service,
    /// Too many requests (429): wait as long as [`Error::retry_after`] says. Repeated.
    Throttled,
    /// No TLS connection: the server's certificate does not lead to the roots, or is for another name.
    Tls,
    /// The credentials were refused (401): check the policy, its key, what it permits, and the clock of this machine.
    Unauthorized,
    /// The api-version that was chosen does not know a field, or the operation: the message names it, and nothing was
    /// sent. Or the service does not have the operation (501).
    Unsupported,
}

impl ErrorKind {
    /// What an HTTP status means that is no success.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            501 => Self::Unsupported,
            408 | 500.. => Self::Service,
            409 => Self::Conflict,
            412 => Self::PreconditionFailed,
            429 => Self::Throttled,
            400.. => Self::Invalid,
            _ => Self::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dps_types::ErrorCode;

    #[test]
    fn the_text_tells_the_problem_and_leaves_the_source_to_the_chain() {
        let error = Error::new(ErrorKind::Conflict, "the service answered 409 Conflict")
            .with_details(Some(ErrorDetails::new(ErrorCode::new(409_999), "No.")))
            .with_source(std::io::Error::other("inside"));

        assert_eq!(
            error.to_string(),
            "the service answered 409 Conflict: No. (error code 409999)"
        );
        assert_eq!(error.source().unwrap().to_string(), "inside");
    }

    #[test]
    fn errors_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
    }
}
