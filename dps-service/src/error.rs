//! The error of this crate: one opaque type, and kinds that name who has to act.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dps_types::{ErrorCode, ErrorDetails};

/// The error of an operation.
///
/// Neither the text nor the sources contain a key or a token. `{:#}` prints the sources as well.
///
/// ```no_run
/// # async fn example(dps: dps_service::ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_service::ErrorKind;
///
/// match dps.individual_enrollments().get(&"toaster-1".parse()?).await {
///     Ok(enrollment) => println!("{:?}", enrollment.provisioning_status),
///     Err(error) if error.kind() == ErrorKind::NotFound => println!("it is not enrolled"),
///     Err(error) => eprintln!("{error:#}"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// See the page [When it does not work](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/troubleshooting.md) of the book.
// Not derived with thiserror: the text is composed of the service's answer and a hint for the operator.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    status: Option<u16>,
    details: Option<ErrorDetails>,
    retry_after: Option<Duration>,
    in_doubt: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Returns the kind, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the error details in the service's answer: error code, tracking id, message.
    pub fn error_details(&self) -> Option<&ErrorDetails> {
        self.0.details.as_ref()
    }

    /// Returns the HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns how long the service asks to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns true if the same operation may succeed later.
    ///
    /// The client has already retried where that was safe, until the timeout or up to eight attempts. A write that failed
    /// in this way may have been carried out nevertheless: read before you write again.
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

    /// Returns true if the service may have carried out an attempt although no answer confirms it: the connection was
    /// lost, no answer arrived in time, or the service failed while it was working.
    ///
    /// An [`ErrorKind::Conflict`] in doubt, as bulk operations report it, may be the effect of an earlier attempt whose
    /// answer was lost.
    pub fn is_in_doubt(&self) -> bool {
        self.0.in_doubt
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
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

    /// The remedy for an operator. The hints of `dps_types` are for devices, so those that differ for an operator are here.
    fn hint(&self) -> Option<&'static str> {
        match self.0.kind {
            ErrorKind::Unauthorized => Some(
                "check the name, key and permissions of the shared access policy (or the tenant and role of the token), \
                 the host name of the service, and the clock of this machine",
            ),
            ErrorKind::Forbidden if self.has_code(ErrorCode::QUOTA_EXCEEDED) => Some(
                "a quota of the service instance is exhausted: delete what is no longer needed",
            ),
            ErrorKind::Forbidden => Some(
                "check the permissions of the shared access policy, or the role that is assigned to the identity",
            ),
            ErrorKind::Conflict => Some(
                "it already exists: read it, change it and update it with its ETag, or use create_or_replace",
            ),
            ErrorKind::PreconditionFailed => Some(
                "it has changed since it was read: read it again, change it and update it, or use modify",
            ),
            _ => self.0.details.as_ref().and_then(ErrorDetails::hint),
        }
    }

    fn has_code(&self, code: ErrorCode) -> bool {
        let details = self.0.details.as_ref();
        details.and_then(|details| details.error_code) == Some(code)
    }
}

impl fmt::Debug for Error {
    /// The kind, and the text with all sources: what Rust prints for an error that `main` returns, and for `unwrap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(details) = &self.0.details {
            write!(f, ": {}", details.summary())?;
        }
        if let Some(hint) = self.hint() {
            write!(f, "; {hint}")?;
        }
        dps_types::write_sources(f, self)
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
/// The [crate's documentation](crate#timeouts-and-retries) lists the retries of the client before it reports a kind.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller's change to an enrollment failed: see the source. Nothing was written.
    Change,
    /// It already exists (409): replace it, or read it, change it and update it.
    Conflict,
    /// There is no connection, or it was lost before the answer arrived: check the host name and the network. Retried.
    Connect,
    /// No answer arrived within 30 seconds or before the timeout of the operation. Retried until that timeout.
    Deadline,
    /// A manufacturer's certificate does not confirm an endorsement key: see the source. Do not enroll the device.
    Endorsement,
    /// The shared access policy, or the role of the identity, does not allow this, or a quota is exhausted (403).
    Forbidden,
    /// The request is not valid (any other 4xx, usually 400, or an update without an ETag): see the message.
    Invalid,
    /// The connection string, the host, the proxy or the roots are not usable: correct the configuration.
    InvalidConfiguration,
    /// The token provider returned no token: see the source. Nothing was sent.
    NoToken,
    /// An item of a bulk operation was not sent, because an earlier request failed and will not succeed: see the source.
    NotAttempted,
    /// The enrollment, enrollment group or registration record does not exist (404).
    NotFound,
    /// It has changed since it was read (412): read it again, change it and write it.
    PreconditionFailed,
    /// The answer is not valid in this API: check that the host is a Device Provisioning Service, and that no proxy,
    /// firewall or login page answers instead.
    Protocol,
    /// The service failed or is not available (408, and 5xx except 501): try again later. Retried.
    Service,
    /// There were too many requests (429): wait for [`Error::retry_after`]. Retried.
    Throttled,
    /// TLS failed: the server's certificate is not from a trusted root, or is for another name.
    Tls,
    /// The credentials were refused (401): check the policy, its key, and the clock of this machine.
    Unauthorized,
    /// The chosen api-version does not have a field or the operation: the message names it, and nothing was sent. Or the
    /// service does not have the operation (501).
    Unsupported,
}

impl ErrorKind {
    /// The kind for an HTTP status that is not a success.
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

    fn failure(kind: ErrorKind, code: u32) -> Error {
        let details = ErrorDetails::new(ErrorCode::new(code), "Refused.");
        Error::new(kind, "the service answered").with_details(Some(details))
    }

    #[test]
    fn the_text_has_the_details_and_leaves_the_source_to_the_alternate_form() {
        let error =
            failure(ErrorKind::Invalid, 400_999).with_source(std::io::Error::other("inside"));
        let text = "the service answered: Refused. (error code 400999)";
        assert_eq!(error.to_string(), text);
        assert_eq!(format!("{error:#}"), format!("{text}: inside"));
        assert_eq!(error.source().unwrap().to_string(), "inside");
    }

    #[test]
    fn the_hint_is_for_an_operator_and_not_for_a_device() {
        for (kind, code, hint) in [
            (ErrorKind::Unauthorized, 401_002, "shared access policy"),
            (ErrorKind::Unauthorized, 401_000, "shared access policy"),
            (ErrorKind::Conflict, 409_201, "create_or_replace"),
            (ErrorKind::Conflict, 409_202, "create_or_replace"),
            (ErrorKind::PreconditionFailed, 412_001, "or use modify"),
            (ErrorKind::Forbidden, 403_001, "role that is assigned"),
            (ErrorKind::Forbidden, 403_002, "quota"),
        ] {
            let text = failure(kind, code).to_string();
            assert!(text.contains(hint), "{text}");
            for of_a_device in [
                "If-Match",
                "id scope",
                "certificate chain",
                "register again",
            ] {
                assert!(!text.contains(of_a_device), "{text}");
            }
        }
        let text = failure(ErrorKind::Throttled, 429_001).to_string();
        assert!(text.contains("too many requests"), "{text}");
    }

    #[test]
    fn errors_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
    }
}
