//! The error of this crate: its kind determines who must act and whether the client has already retried.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "certificates")]
use dps_types::sas::SignError;
use dps_types::{ErrorCode, ErrorDetails, write_sources};

/// Error from a registration, a lookup or a hub operation.
///
/// It holds no key and no token. `{error}` shows this error only, `{error:#}` also shows its causes.
///
/// ```no_run
/// # async fn example(client: dps_device::ProvisioningClient) {
/// use dps_device::ErrorKind;
///
/// match client.register().await {
///     Ok(assignment) => println!("{}", assignment.hub()),
///     Err(error) if error.kind() == ErrorKind::Unauthorized => eprintln!("check the key or the certificate: {error:#}"),
///     Err(error) if error.is_retryable() => eprintln!("try again after {:?}: {error:#}", error.retry_after()),
///     Err(error) => eprintln!("{error:#}"),
/// }
/// # }
/// ```
///
/// See the page [When it does not work](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/troubleshooting.md) of the book.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    what: Cow<'static, str>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    details: Option<ErrorDetails>,
    note: Option<Cow<'static, str>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
///
/// "Retried" means that the client repeats the request until the timeout. The call then fails with
/// [`Deadline`](Self::Deadline), and this error is its [`last_failure`](Error::last_failure).
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The device was assigned, but the service issued no certificate or one that does not fit the request. Not retried. Nothing
    /// of the answer was kept. The source is a `certificate::CertificateFault`.
    Certificate,
    /// The connection to the hub was closed by the program, or its events were dropped. Not retried. Open another connection.
    Closed,
    /// The network, a name server or a proxy failed: the name was not found, the connection was refused or lost, or no
    /// answer came in time. Retried. Check the network.
    Connect,
    /// The hub requires a connection profile that this client does not have; [`Assignment::connection_profile`] has its name. The
    /// client did not connect. Update the client.
    ///
    /// [`Assignment::connection_profile`]: crate::Assignment::connection_profile
    ConnectionProfile,
    /// The timeout has passed, or the service asks for a longer wait than is left ([`Error::retry_after`]). Try again later,
    /// after that wait.
    Deadline,
    /// The enrollment is disabled. Not retried. Enable the enrollment.
    Disabled,
    /// The service could not assign the device: see [`Error::error_details`]. Not retried, since most causes persist (the
    /// webhook refuses the device, no hub is linked). Check the enrollment.
    Failed,
    /// The client is not configured correctly: a certificate, a key, a host name, a proxy or its credentials. Nothing
    /// was sent to the service. Fix the configuration.
    InvalidConfiguration,
    /// The policy of the key in the TPM does not allow its use in the measured state of the device. Not retried: the state stays
    /// until a restart. The source has the PCRs: `tpm::TpmError::changed_pcrs`. Start the software that the policy allows, or
    /// approve the new state.
    KeyPolicy,
    /// The registration or the id scope does not exist. A lost operation is registered again, anything else is not retried.
    /// Check the id scope and the enrollment.
    NotFound,
    /// The answer does not follow the protocol. It may come from another server: a proxy, a firewall or a captive portal. Not
    /// retried, unless its status reports a server that failed. Check host, proxy and network.
    Protocol,
    /// The message queue of a hub connection is full, or cannot be read or written. Not retried. Check the disk, or send
    /// fewer messages.
    Queue,
    /// The service refused the request. Not retried. [`Error::error_details`] has the reason.
    Rejected,
    /// The service failed or reports a conflict: 408, 5xx except 501, error code 409203, or an MQTT connection that is
    /// refused as unavailable. Retried.
    Service,
    /// The key could not sign, or the TPM did not accept the key that the service wrapped for it. Not retried. Check the
    /// hardware that holds the key.
    Signing,
    /// The stored certificates of the device or their keys cannot be used, or a new one could not be stored: nothing was sent, and no
    /// key was generated, because it could replace one that is in use. Or a certificate came after its key had been replaced. A
    /// connection tries again. Check the disk or the hardware.
    Store,
    /// Too many requests: 429. Retried after the wait that the service asks for. Distribute the devices over time.
    Throttled,
    /// The TLS connection failed: the certificate of the server or of the device is not accepted. Not retried. Check the
    /// roots, the host name, the device's chain, and the clock.
    Tls,
    /// The credentials were refused, and also the secondary ones if there are any. Not retried. Check the key or the chain,
    /// the ids, and the clock.
    Unauthorized,
    /// This transport cannot carry this proof or this request. Nothing was sent. Use another transport.
    Unsupported,
}

impl Error {
    /// The kind of the error, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns true if the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        self.kind() == ErrorKind::Deadline || self.is_retried()
    }

    /// The wait that the service asks for before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0
            .retry_after
            .or_else(|| self.last_failure()?.retry_after())
    }

    /// The service's error document: error code, tracking id, message.
    pub fn error_details(&self) -> Option<&ErrorDetails> {
        self.0
            .details
            .as_ref()
            .or_else(|| self.last_failure()?.error_details())
    }

    /// The HTTP status of the answer that failed.
    pub fn status(&self) -> Option<u16> {
        self.0.status.or_else(|| self.last_failure()?.status())
    }

    /// For [`ErrorKind::Deadline`]: the failure that was retried last. It is also the source.
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
            note: None,
            source: None,
        }))
    }

    pub(crate) fn configuration(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidConfiguration, what)
    }

    #[cfg(feature = "hub")]
    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the connection to the hub was closed")
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

    /// Adds a note about the cause, or about the remedy.
    pub(crate) fn with_note(mut self, note: impl Into<Cow<'static, str>>) -> Self {
        let note = note.into();
        self.0.note = Some(match self.0.note.take() {
            Some(first) => format!("{first}; {note}").into(),
            None => note,
        });
        self
    }

    pub(crate) fn shared_source(&self) -> Option<Arc<dyn StdError + Send + Sync>> {
        self.0.source.clone()
    }

    /// Returns true if the client repeats the request. A gateway or a proxy that answers 5xx with a page may recover.
    pub(crate) fn is_retried(&self) -> bool {
        self.kind().is_retried()
            || self.kind() == ErrorKind::Protocol
                && matches!(self.0.status, Some(408 | 429 | 500 | 502..=510 | 512..=599))
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        self.error_details()?.error_code
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
        f.write_str(&self.0.what)?;
        if let Some(details) = &self.0.details {
            write!(f, ": {details}")?;
        }
        if let Some(note) = &self.0.note {
            write!(f, "; {note}")?;
        }
        write_sources(f, self)
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

/// The kind of a failure to sign: [`ErrorKind::KeyPolicy`] if an error of this kind is among its causes, and else
/// [`ErrorKind::Signing`].
pub(crate) fn signing_kind(failure: &(dyn StdError + 'static)) -> ErrorKind {
    let is_policy = |cause: &(dyn StdError + 'static)| {
        let error = cause.downcast_ref::<Error>();
        error.is_some_and(|error| error.kind() == ErrorKind::KeyPolicy)
    };
    match dps_tls::causes(failure).any(is_policy) {
        true => ErrorKind::KeyPolicy,
        false => ErrorKind::Signing,
    }
}

/// For the errors of a [`KeySource`](crate::certificate::KeySource) of your own: the kind is [`ErrorKind::Signing`], or
/// [`ErrorKind::KeyPolicy`] if a TPM refused the use of a key in its state.
#[cfg(feature = "certificates")]
impl From<SignError> for Error {
    fn from(error: SignError) -> Self {
        Self::new(signing_kind(&error), "the key cannot be used").with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_returns_the_error_prints_the_kind_and_the_causes() {
        let error = Error::new(ErrorKind::Connect, "the connection failed")
            .with_source(std::io::Error::other("no route"));
        assert_eq!(
            format!("{error:?}"),
            "Connect: the connection failed: no route"
        );
    }

    #[test]
    fn the_plain_text_does_not_repeat_the_source_and_the_alternate_text_has_the_chain() {
        let failure = Error::new(ErrorKind::Throttled, "too many requests")
            .with_status(429)
            .with_details(Some(ErrorDetails::new(ErrorCode::THROTTLED, "slow down")));
        let error = Error::new(ErrorKind::Deadline, "time is up").with_source(failure);

        assert_eq!(error.to_string(), "time is up");
        let chain = format!("{error:#}");
        assert!(
            chain.starts_with("time is up: too many requests: slow down"),
            "{chain}"
        );
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
    fn errors_are_send_and_sync() {
        fn assert_send_and_sync<T: Send + Sync + Clone + 'static>() {}
        assert_send_and_sync::<Error>();
    }
}
