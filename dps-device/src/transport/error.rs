//! The error of a transport: there is no reply of the service.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dps_types::write_sources;

use crate::error::{Error, ErrorKind};

/// The error of a transport that has no reply of the service.
///
/// `{error}` shows this error only, `{error:#}` also shows its causes.
#[derive(Debug)]
pub struct TransportError {
    kind: ErrorKind,
    what: Cow<'static, str>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// An error of this kind: [`ErrorKind::Connect`] is retried with a new session, most others are not. The text must not
    /// hold a secret.
    pub fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            what: what.into(),
            status: None,
            retry_after: None,
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Adds the HTTP status that another server answered in place of the service.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds the wait that the other server asked for.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Adds the remedy to the text.
    #[cfg(any(feature = "mqtt", feature = "amqp"))]
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.what = format!("{}; {hint}", self.what).into();
        self
    }

    /// The same kind, status and wait with another text and without the source.
    pub(super) fn summarized(&self, what: &'static str) -> Self {
        Self {
            kind: self.kind,
            what: what.into(),
            status: self.status,
            retry_after: self.retry_after,
            source: None,
        }
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        write_sources(f, self)
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        let mut converted = Self::new(error.kind, error.what).with_retry_after(error.retry_after);
        if let Some(status) = error.status {
            converted = converted.with_status(status);
        }
        match error.source {
            Some(source) => converted.with_shared_source(source),
            None => converted,
        }
    }
}

/// For the parts of a transport that fail with an [`Error`], such as [`Host::for_tls`](crate::Host::for_tls).
impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind(),
            what: error.to_string().into(),
            status: error.status(),
            retry_after: error.retry_after(),
            source: error.shared_source(),
        }
    }
}
