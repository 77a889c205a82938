//! Several transports in order of preference: the first that connects is used.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dps_types::{OperationId, RegistrationRequest};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::error::TransportError;
use super::reply::Reply;
use super::session::{Session, Transport};
use super::target::Target;
use crate::attestation::proof::Proof;
use crate::error::ErrorKind;
use crate::log_limit::LogLimit;

/// The longest time for one transport to connect before the next is tried.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(10);

const ALL_FAILED: &str = "all transports failed";

/// Transports in order of preference. The next one is tried when one fails to connect.
///
/// A transport fails to connect when there is no connection or no TLS, when the peer is not DPS, and when it cannot carry the
/// proof or the request. An answer of the service is final, also when it is a refusal.
///
/// All attempts together count as one request: each transport has an equal share of
/// [`request_timeout`](Target::request_timeout) to connect, at most 10 seconds, and more than one share is left for the
/// request. When all fail, the error lists the failure of each. The transport that worked is tried first the next time.
///
/// The failure of each transport is logged at `warn`, at most once a minute.
///
/// ```
/// # #[cfg(all(feature = "http", feature = "mqtt"))]
/// # fn transport() -> dps_device::Fallback {
/// use dps_device::{Fallback, Http, Mqtt};
///
/// Fallback::new(Mqtt::default()).or(Http::default())
/// # }
/// ```
#[derive(Debug)]
pub struct Fallback {
    candidates: Vec<Candidate>,
    first: AtomicUsize,
}

#[derive(Debug)]
struct Candidate {
    transport: Box<dyn Transport>,
    log_limit: LogLimit,
}

impl Fallback {
    /// Starts with the preferred transport.
    pub fn new(transport: impl Transport + 'static) -> Self {
        Self {
            candidates: Vec::new(),
            first: AtomicUsize::new(0),
        }
        .or(transport)
    }

    /// Adds a transport that is tried when those before it fail to connect.
    #[must_use]
    pub fn or(mut self, transport: impl Transport + 'static) -> Self {
        self.candidates.push(Candidate {
            transport: Box::new(transport),
            log_limit: LogLimit::default(),
        });
        self
    }

    /// One share of the time of a request for each transport, one for the request itself, and one to report the failures.
    fn share(&self, target: &Target) -> Duration {
        let shares = u32::try_from(self.candidates.len()).unwrap_or(u32::MAX);
        target.request_timeout() / shares.saturating_add(2)
    }

    /// All transports with their indexes, the one to start with first.
    fn order(&self) -> Vec<(usize, &Candidate)> {
        let first = self.first.load(Ordering::Relaxed);
        let mut order: Vec<_> = self.candidates.iter().enumerate().collect();
        order.sort_by_key(|(index, _)| *index != first);
        order
    }
}

#[async_trait]
impl Transport for Fallback {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        let mut attempts = Attempts {
            fallback: self,
            target,
            proof,
            started: Instant::now(),
            untried: self.order().into_iter(),
            failures: Vec::new(),
        };
        Ok(Box::new(FallbackSession {
            current: attempts.next().await?,
            attempts,
            proven: false,
        }))
    }
}

/// A session of one of the transports. Until it has returned a reply the next transport may replace it: HTTPS, for example,
/// connects only with its first request.
struct FallbackSession<'a> {
    current: Opened<'a>,
    attempts: Attempts<'a>,
    proven: bool,
}

struct Opened<'a> {
    index: usize,
    candidate: &'a Candidate,
    session: Box<dyn Session + 'a>,
}

/// The transports that failed, and those that were not tried yet.
struct Attempts<'a> {
    fallback: &'a Fallback,
    target: &'a Target,
    proof: Proof<'a>,
    started: Instant,
    untried: std::vec::IntoIter<(usize, &'a Candidate)>,
    failures: Vec<Failure>,
}

#[async_trait]
impl Session for FallbackSession<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.send(Request::Register(body)).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        self.send(Request::Status(operation)).await
    }

    async fn lookup(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.send(Request::Lookup(body)).await
    }

    fn is_stale(&self) -> bool {
        self.current.session.is_stale()
    }
}

impl FallbackSession<'_> {
    async fn send(&mut self, request: Request<'_>) -> Result<Reply, TransportError> {
        if self.proven {
            return request.send(&mut *self.current.session).await;
        }
        loop {
            let Opened {
                index,
                candidate,
                session,
            } = &mut self.current;
            let time = self.attempts.time_left();
            let error = match timeout(time, request.send(&mut **session)).await {
                Ok(Ok(reply)) => {
                    self.proven = true;
                    self.attempts
                        .fallback
                        .first
                        .store(*index, Ordering::Relaxed);
                    return Ok(reply);
                }
                Ok(Err(error)) if !tries_next(error.kind()) => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => TransportError::new(ErrorKind::Connect, "there was no answer in time"),
            };
            self.attempts.failed(candidate, error);
            self.current = self.attempts.next().await?;
        }
    }
}

impl<'a> Attempts<'a> {
    /// Opens the next transport that can be opened.
    async fn next(&mut self) -> Result<Opened<'a>, TransportError> {
        let fallback = self.fallback;
        let share = fallback.share(self.target).min(MAX_CONNECT_TIME);
        while let Some((index, candidate)) = self.untried.next() {
            let transport = &candidate.transport;
            match timeout(share, transport.open(self.target, self.proof)).await {
                Ok(Ok(session)) => {
                    // Without a reply the next transport is the better choice, since this one may never answer.
                    let next = (index + 1) % fallback.candidates.len();
                    fallback.first.store(next, Ordering::Relaxed);
                    return Ok(Opened {
                        index,
                        candidate,
                        session,
                    });
                }
                Ok(Err(error)) if !tries_next(error.kind()) => return Err(error),
                Ok(Err(error)) => self.failed(candidate, error),
                Err(_) => {
                    let what = format!("there was no connection within {share:?}");
                    self.failed(candidate, TransportError::new(ErrorKind::Connect, what));
                }
            }
        }
        Err(self.exhausted())
    }

    /// The time for the request that shows whether a session works.
    fn time_left(&self) -> Duration {
        let limit = self.target.request_timeout() - self.fallback.share(self.target);
        limit.saturating_sub(self.started.elapsed())
    }

    fn failed(&mut self, candidate: &Candidate, error: TransportError) {
        let Candidate {
            transport,
            log_limit,
        } = candidate;
        let name = transport.name().to_owned();
        // A transport that cannot carry the request is a matter of configuration, not a fault.
        if error.kind() != ErrorKind::Unsupported && log_limit.allows() {
            warn!(
                transport = %name,
                error = %format_args!("{error:#}"),
                "this transport failed, trying the next one"
            );
        } else {
            debug!(
                transport = %name,
                error = %format_args!("{error:#}"),
                "this transport failed, trying the next one"
            );
        }
        self.failures.push(Failure { name, error });
    }

    /// Kind, status and wait are those of the failure which is most likely to recover.
    fn exhausted(&mut self) -> TransportError {
        let failures = std::mem::take(&mut self.failures);
        let error = [ErrorKind::Connect, ErrorKind::Tls, ErrorKind::Protocol]
            .into_iter()
            .find_map(|kind| failures.iter().find(|failure| failure.error.kind() == kind))
            .map_or_else(
                || TransportError::new(ErrorKind::Unsupported, ALL_FAILED),
                |failure| failure.error.summarized(ALL_FAILED),
            );
        error.with_source(Failures(failures))
    }
}

#[derive(Clone, Copy)]
enum Request<'r> {
    Register(&'r RegistrationRequest),
    Status(&'r OperationId),
    Lookup(&'r RegistrationRequest),
}

impl Request<'_> {
    async fn send(self, session: &mut (dyn Session + '_)) -> Result<Reply, TransportError> {
        match self {
            Self::Register(body) => session.register(body).await,
            Self::Status(operation) => session.status(operation).await,
            Self::Lookup(body) => session.lookup(body).await,
        }
    }
}

fn tries_next(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Connect | ErrorKind::Tls | ErrorKind::Protocol | ErrorKind::Unsupported
    )
}

/// The failures of all transports. An error has only one source, so this text has the whole chain of each.
#[derive(Debug)]
struct Failures(Vec<Failure>);

#[derive(Debug)]
struct Failure {
    name: String,
    error: TransportError,
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Failure { name, error }) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{name}: {error:#}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failures {}
