//! What can go wrong: one opaque error, and the kind that says who must act and whether we already retried.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dps_types::{ErrorCode, ErrorDetails};

/// Why a registration, a lookup or a talk with the hub has no good end.
///
/// It holds no key and no token. Its text leaves the source to the chain of [`source`](StdError::source).
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    what: Cow<'static, str>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    details: Option<ErrorDetails>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
///
/// "Retried" means: again and again until the deadline, so that `register()` itself ends with
/// [`Deadline`](Self::Deadline) and has this error as its [`last_failure`](Error::last_failure).
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The network, a name server or a proxy: the name is not found, the connection is refused or lost, or no answer
    /// came in time. Retried. The network has to come back.
    Connect,
    /// Time is up, or the service asks for a longer wait than is left ([`Error::retry_after`]). What could be retried
    /// was, until now. Try again later, after that wait.
    Deadline,
    /// The enrollment is disabled. Not retried. The operator must enable it.
    Disabled,
    /// The service tried, and could not assign the device: [`Error::problem`] says why. Not retried, since most reasons
    /// last (a webhook that refuses, no linked hub). The operator must look.
    Failed,
    /// The client was not set up well: a certificate, a key, a host name, a proxy or its credentials. Nothing
    /// was sent to the service. Fix the set-up.
    InvalidConfiguration,
    /// There is no such registration or id scope. A lost operation is registered again, all else is not retried.
    /// The operator must look at the id scope and the enrollment.
    NotFound,
    /// The answer is not one of the protocol: perhaps it does not come from DPS. Not retried. Look at host and proxy.
    Protocol,
    /// The service refused the request itself. Not retried. [`Error::problem`] says what is wrong with it.
    Rejected,
    /// The service failed or was in conflict with itself: 408, 5xx but 501, error code 409203, or an MQTT connection that is
    /// refused for now. Retried.
    Service,
    /// The key could not sign, or the TPM did not take the key that the service wrapped for it. Not retried. Look at the
    /// device that holds it.
    Signing,
    /// Too many requests: 429. Retried, not before the service allows. The operator may spread devices over time.
    Throttled,
    /// No secure connection: a certificate that is not trusted, of either side. Not retried. Look at the roots, the
    /// host name, the device's chain, and the clock.
    Tls,
    /// The credentials were refused, the secondary ones too where there are any. Not retried. Look at the key or chain,
    /// the ids, and the clock.
    Unauthorized,
    /// This transport cannot carry this proof or this request. Nothing was sent. Choose another transport.
    Unsupported,
}

impl Error {
    /// What went wrong, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without anybody's help.
    pub fn is_retryable(&self) -> bool {
        self.kind() == ErrorKind::Deadline || self.kind().is_retried()
    }

    /// How long the service wants us to wait before the next request, when it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0
            .retry_after
            .or_else(|| self.last_failure()?.retry_after())
    }

    /// The service's own account: error code, tracking id, message.
    pub fn error_details(&self) -> Option<&ErrorDetails> {
        self.0
            .details
            .as_ref()
            .or_else(|| self.last_failure()?.error_details())
    }

    /// The status of the answer, where the answer was the failure.
    pub fn status(&self) -> Option<u16> {
        self.0.status.or_else(|| self.last_failure()?.status())
    }

    /// For [`ErrorKind::Deadline`]: the failure that was being retried, when there was one. It is also the source.
    pub fn last_failure(&self) -> Option<&Self> {
        self.0.source.as_deref()?.downcast_ref()
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            what: what.into(),
            status: None,
            retry_after: None,
            details: None,
            source: None,
        }))
    }

    pub(crate) fn configuration(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidConfiguration, what)
    }

    pub(crate) fn protocol(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Protocol, what)
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    pub(crate) fn with_details(mut self, details: Option<ErrorDetails>) -> Self {
        self.0.details = details;
        self
    }

    pub(crate) fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with_shared_source(Arc::new(source))
    }

    pub(crate) fn with_shared_source(mut self, source: Arc<dyn StdError + Send + Sync>) -> Self {
        self.0.source = Some(source);
        self
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        self.error_details()?.error_code
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
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl ErrorKind {
    pub(crate) fn is_retried(self) -> bool {
        matches!(self, Self::Connect | Self::Service | Self::Throttled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_leaves_the_source_to_the_chain() {
        let failure = Error::new(ErrorKind::Throttled, "too many requests")
            .with_status(429)
            .with_details(Some(ErrorDetails::new(ErrorCode::THROTTLED, "slow down")));
        let error = Error::new(ErrorKind::Deadline, "time is up").with_source(failure);

        assert_eq!(error.to_string(), "time is up");
        assert_eq!(error.last_failure().unwrap().kind(), ErrorKind::Throttled);
        assert_eq!(error.status(), Some(429));
        assert!(
            error
                .source()
                .unwrap()
                .to_string()
                .starts_with("too many requests: slow down")
        );
    }

    #[test]
    fn errors_cross_threads() {
        fn crosses<T: Send + Sync + Clone + 'static>() {}
        crosses::<Error>();
    }
}
