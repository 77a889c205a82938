//! How the bytes get there: one carrier a file. A carrier sends one request and brings one reply; when to ask again is not its business.

mod endpoint;
mod fallback;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "mqtt")]
mod mqtt_connection;
#[cfg(feature = "mqtt")]
mod mqtt_session;
#[cfg(feature = "mqtt")]
mod stream;
mod target;
#[cfg(any(feature = "http", feature = "mqtt"))]
mod tls_failure;
#[cfg(any(feature = "http", feature = "mqtt"))]
mod token;
#[cfg(feature = "mqtt")]
mod tunnel;
#[cfg(feature = "websocket")]
mod websocket;
#[cfg(any(feature = "http", feature = "mqtt"))]
mod wire;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dps_types::{OperationId, RegistrationRequest};

use crate::attestation::Proof;
use crate::error::{Error, ErrorKind};

pub use dps_tls::Proxy;
#[cfg(feature = "hub")]
pub(crate) use endpoint::Endpoint;
pub use fallback::Fallback;
#[cfg(feature = "http")]
pub use http::Http;
#[cfg(feature = "mqtt")]
pub use mqtt::Mqtt;
#[cfg(feature = "hub")]
pub(crate) use mqtt_connection::{AGENT, KEEP_ALIVE, MqttConnection, Stream, request_id};
pub use target::Target;
#[cfg(feature = "hub")]
pub(crate) use token::{LIFETIME, sign};
#[cfg(feature = "websocket")]
pub use websocket::MqttWebSocket;

/// A carrier.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Opens a session with the service. Whoever calls sets a time limit.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], before anything is sent, when it cannot carry the proof; otherwise as it went.
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError>;
}

/// A connection with the service, or what comes nearest to it. Each method sends one request and waits for its reply, whatever
/// it says, and retries nothing. Whoever calls sets a time limit, and does not use a session again after an error.
#[async_trait]
pub trait Session: Send {
    /// Registers.
    ///
    /// # Errors
    /// When there is no reply.
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError>;

    /// Asks how far a registration is.
    ///
    /// # Errors
    /// When there is no reply.
    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError>;

    /// Asks what the service knows about the device. Only HTTPS has this.
    ///
    /// # Errors
    /// When there is no reply; [`ErrorKind::Unsupported`] unless the carrier says otherwise.
    async fn lookup(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        let _ = body;
        Err(TransportError::new(
            ErrorKind::Unsupported,
            "this transport has no status lookup",
        ))
    }

    /// Whether it has had its time although nothing went wrong: then a new one is opened for the next request, which
    /// counts as no failure.
    fn is_stale(&self) -> bool {
        false
    }
}

/// What the service answered, not judged yet.
#[derive(Clone)]
#[non_exhaustive]
pub struct Reply {
    /// The HTTP status, also over other carriers.
    pub status: u16,
    /// How long to wait before the next request, when the service said so.
    pub retry_after: Option<Duration>,
    /// The body: JSON, unless something is wrong.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply that asks for no wait.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            retry_after: None,
            body: body.into(),
        }
    }

    /// Asks for a wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may hold what the webhook tells the device, which may be a secret.
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TransportError {
    kind: ErrorKind,
    what: Cow<'static, str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// An error of this kind: [`ErrorKind::Connect`] is retried with a new session, the others are not. The text holds no secret.
    pub fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        let converted = Self::new(error.kind, error.what);
        match error.source {
            Some(source) => converted.with_shared_source(source),
            None => converted,
        }
    }
}
