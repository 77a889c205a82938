//! Several transports, of which the first that gets through is used.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dps_types::{OperationId, RegistrationRequest};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{Reply, Session, Target, Transport, TransportError};
use crate::attestation::Proof;
use crate::error::ErrorKind;

/// The longest that a transport may take to connect before the next is tried.
const LONGEST_OPENING: Duration = Duration::from_secs(10);

/// Transports in order of preference: the next is tried when one does not get through.
///
/// Not to get through means: no connection, no TLS, something else than DPS at the other end, or a proof or a request that
/// the transport cannot carry. What the service itself says, a refusal above all, is an answer and is final here.
///
/// All tries together count as one request: each transport may take an equal share of
/// [`request_timeout`](Target::request_timeout) to connect, at most 10 seconds, and more than one share is left for the
/// request. When none gets through, the error says why, of each. The one that did is tried first the next time.
pub struct Fallback {
    transports: Vec<(&'static str, Box<dyn Transport>)>,
    first: AtomicUsize,
}

impl Fallback {
    /// Begins with the preferred transport.
    pub fn new(transport: impl Transport + 'static) -> Self {
        Self {
            transports: Vec::new(),
            first: AtomicUsize::new(0),
        }
        .or(transport)
    }

    /// Adds one for when those before do not get through.
    #[must_use]
    pub fn or<T: Transport + 'static>(mut self, transport: T) -> Self {
        let path = std::any::type_name::<T>();
        let name = path.rsplit("::").next().unwrap_or(path);
        self.transports.push((name, Box::new(transport)));
        self
    }

    /// One share of the time of a request for each, one for the request itself, and one to tell that it was all in vain.
    fn share(&self, target: &Target) -> Duration {
        let shares = u32::try_from(self.transports.len()).unwrap_or(u32::MAX);
        target.request_timeout() / shares.saturating_add(2)
    }

    /// All transports, the one to begin with first.
    fn order(&self) -> Vec<usize> {
        let first = self.first.load(Ordering::Relaxed);
        let mut order: Vec<_> = (0..self.transports.len()).collect();
        order.sort_by_key(|index| *index != first);
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
        let mut tries = Tries {
            fallback: self,
            target,
            proof,
            started: Instant::now(),
            untried: self.order().into_iter(),
            failures: Vec::new(),
        };
        Ok(Box::new(FallbackSession {
            current: tries.next().await?,
            tries,
            proven: false,
        }))
    }
}

/// A session of one of the transports. Until it has brought a reply, the next may take its place: HTTPS, say, connects
/// with its first request only.
struct FallbackSession<'a> {
    current: Opened<'a>,
    tries: Tries<'a>,
    proven: bool,
}

struct Opened<'a> {
    index: usize,
    session: Box<dyn Session + 'a>,
}

/// What was tried, and what is left to try.
struct Tries<'a> {
    fallback: &'a Fallback,
    target: &'a Target,
    proof: Proof<'a>,
    started: Instant,
    untried: std::vec::IntoIter<usize>,
    failures: Vec<Failure>,
}

#[async_trait]
impl Session for FallbackSession<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.ask(Request::Register(body)).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        self.ask(Request::Status(operation)).await
    }

    async fn lookup(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.ask(Request::Lookup(body)).await
    }

    fn is_stale(&self) -> bool {
        self.current.session.is_stale()
    }
}

impl FallbackSession<'_> {
    async fn ask(&mut self, request: Request<'_>) -> Result<Reply, TransportError> {
        if self.proven {
            return request.send(&mut *self.current.session).await;
        }
        loop {
            let Opened { index, session } = &mut self.current;
            let time = self.tries.time_left();
            let error = match timeout(time, request.send(&mut **session)).await {
                Ok(Ok(reply)) => {
                    self.proven = true;
                    self.tries.fallback.first.store(*index, Ordering::Relaxed);
                    return Ok(reply);
                }
                Ok(Err(error)) if !is_passed_over(error.kind()) => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => TransportError::new(ErrorKind::Connect, "there was no answer in time"),
            };
            self.tries.note(*index, error);
            self.current = self.tries.next().await?;
        }
    }
}

impl<'a> Tries<'a> {
    /// Opens the next that can be opened.
    async fn next(&mut self) -> Result<Opened<'a>, TransportError> {
        let fallback = self.fallback;
        let share = fallback.share(self.target).min(LONGEST_OPENING);
        while let Some(index) = self.untried.next() {
            let (_, transport) = &fallback.transports[index];
            match timeout(share, transport.open(self.target, self.proof)).await {
                Ok(Ok(session)) => {
                    // Until there is a reply the next one is the better choice: this one may be silent for ever.
                    let next = (index + 1) % fallback.transports.len();
                    fallback.first.store(next, Ordering::Relaxed);
                    return Ok(Opened { index, session });
                }
                Ok(Err(error)) if !is_passed_over(error.kind()) => return Err(error),
                Ok(Err(error)) => self.note(index, error),
                Err(_) => {
                    let what = format!("there was no connection within {share:?}");
                    self.note(index, TransportError::new(ErrorKind::Connect, what));
                }
            }
        }
        Err(self.exhausted())
    }

    /// For the request that shows whether a session is any good.
    fn time_left(&self) -> Duration {
        let limit = self.target.request_timeout() - self.fallback.share(self.target);
        limit.saturating_sub(self.started.elapsed())
    }

    fn note(&mut self, index: usize, error: TransportError) {
        let (name, _) = self.fallback.transports[index];
        debug!(transport = name, %error, "this transport does not get through");
        self.failures.push(Failure { name, error });
    }

    /// One that may get better stands for all; one that cannot carry the request says least.
    fn exhausted(&mut self) -> TransportError {
        let failures = std::mem::take(&mut self.failures);
        let any = |kind| failures.iter().any(|failure| failure.error.kind() == kind);
        let kind = [ErrorKind::Connect, ErrorKind::Tls, ErrorKind::Protocol]
            .into_iter()
            .find(|kind| any(*kind))
            .unwrap_or(ErrorKind::Unsupported);
        TransportError::new(kind, "no transport gets through").with_source(Failures(failures))
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

fn is_passed_over(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Connect | ErrorKind::Tls | ErrorKind::Protocol | ErrorKind::Unsupported
    )
}

/// Why each did not get through. A chain of sources has room for one: so the text holds them all, to the ground.
#[derive(Debug)]
struct Failures(Vec<Failure>);

#[derive(Debug)]
struct Failure {
    name: &'static str,
    error: TransportError,
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Failure { name, error }) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{name}: {error}")?;
            let mut source = std::error::Error::source(error);
            while let Some(error) = source {
                write!(f, ": {error}")?;
                source = error.source();
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failures {}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.transports.iter().map(|(name, _)| name))
            .finish()
    }
}
