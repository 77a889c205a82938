//! A connection to a hub that survives its links: it reconnects, renews its password, and misses no change.

use std::fmt;
use std::time::Duration;

use futures_core::future::BoxFuture;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::backoff::Backoff;
use super::endpoint::HubEndpoint;
use super::link::Link;
use super::monitor::Monitor;
use super::request::{Connect, GetTwin, NextUpdate, PatchReported, Request, TwinUpdate};
use super::twin::Twin;
use crate::error::{Error, ErrorKind};
use crate::poll::draw;

/// A link that lasted this long counts as healthy: its end does not slow the reconnects down.
const STEADY: Duration = Duration::from_secs(60);

/// A device's connection to its hub, for the device twin: from [`HubEndpoint::connect`].
///
/// It handles what happens on a network: a connection that is lost, or whose password expires, is opened again, with growing
/// waits, until the [timeout](HubEndpoint::with_timeout). If the hub refuses the device's first proof, the second is tried.
/// Requests that are answered with 429 or 5xx are retried, not before the hub allows. Failures are logged at `warn` with their
/// causes: the first one, and then one a minute.
///
/// Nothing happens unless a method is awaited. Await [`next`](Self::next) whenever there is nothing else to do, since that also
/// keeps the connection alive. Dropping a future of [`next`](Self::next) or [`twin`](Self::twin) loses nothing, so both can be
/// used in `select!`. Dropping the connection closes it.
///
/// # Errors
/// All methods return [`ErrorKind::Deadline`] if the hub cannot be reached within the timeout (the last failure is the source),
/// [`ErrorKind::Unauthorized`] if the hub refuses the device and its second proof, and the other kinds as documented there. After
/// an error the next call tries again.
pub struct HubConnection {
    endpoint: HubEndpoint,
    link: Option<Box<Link>>,
    /// An attempt to connect, kept here so that it goes on if the caller's future is dropped.
    opening: Option<BoxFuture<'static, Result<(HubEndpoint, Link), Error>>>,
    /// The next attempt to connect or to send starts at this time or later.
    not_before: Instant,
    backoff: Backoff,
    /// The version of the desired properties that the caller has.
    known_version: Option<u64>,
    monitor: Monitor,
}

impl HubEndpoint {
    /// Connects, and retries until the [timeout](Self::with_timeout).
    ///
    /// # Errors
    /// See [`HubConnection`].
    pub async fn connect(&self) -> Result<HubConnection, Error> {
        let mut connection = HubConnection::new(self.clone(), Monitor::new());
        connection.perform(&Connect).await?;
        Ok(connection)
    }
}

impl HubConnection {
    /// The hub and the settings of this connection.
    pub fn hub(&self) -> &HubEndpoint {
        &self.endpoint
    }

    /// Downloads the twin.
    ///
    /// # Errors
    /// See [`HubConnection`].
    pub async fn twin(&mut self) -> Result<Twin, Error> {
        self.perform(&GetTwin).await
    }

    /// Patches the reported properties and returns their new version: objects are merged, `null` removes a property.
    ///
    /// If the connection is lost before the answer, the patch is sent again. It may therefore be applied twice, which changes
    /// only the version.
    ///
    /// # Errors
    /// See [`HubConnection`]. [`ErrorKind::Rejected`], before anything is sent, if the hub would not accept the patch: it is not
    /// a JSON object, is larger than 32 KiB, is nested more than 10 deep, or has an invalid name or value.
    pub async fn report(&mut self, patch: impl Serialize) -> Result<u64, Error> {
        let request = PatchReported::new(patch)?;
        self.perform(&request).await
    }

    /// Waits for the next change of the desired properties. Changes arrive in order, each once, and none is missed. The first
    /// item is the whole twin, unless [`twin`](Self::twin) was called before.
    ///
    /// It waits until something changes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// See [`HubConnection`].
    pub async fn next(&mut self) -> Result<TwinUpdate, Error> {
        self.perform(&NextUpdate).await
    }

    /// A connection that is opened by its first request.
    pub(super) fn new(endpoint: HubEndpoint, monitor: Monitor) -> Self {
        Self {
            link: None,
            opening: None,
            not_before: Instant::now(),
            backoff: Backoff::new(&endpoint),
            endpoint,
            known_version: None,
            monitor,
        }
    }

    /// Sends a request until it has a response, over as many links as that needs.
    pub(super) async fn perform<R: Request>(&mut self, request: &R) -> Result<R::Response, Error> {
        loop {
            match self.attempt(request).await {
                Ok(response) => {
                    self.backoff.stop();
                    if let Some(response) = response {
                        return Ok(response);
                    }
                }
                Err(error) => self.on_failure(error)?,
            }
        }
    }

    async fn attempt<R: Request>(&mut self, request: &R) -> Result<Option<R::Response>, Error> {
        sleep_until(self.not_before).await;
        let link = match self.link.take().filter(|link| !link.is_stale()) {
            Some(link) => link,
            None => self.open().await?,
        };
        let link = self.link.insert(link);
        request.send(link, &mut self.known_version).await
    }

    async fn open(&mut self) -> Result<Box<Link>, Error> {
        let opening = match self.opening.take() {
            Some(opening) => opening,
            None => {
                self.backoff.start();
                self.monitor.connecting(self.endpoint.hostname());
                Box::pin(open_with_either_proof(self.endpoint.clone()))
            }
        };
        let opened = self.opening.insert(opening).await;
        self.opening = None;
        let (endpoint, link) = opened?;
        self.endpoint = endpoint;
        self.monitor.connected(self.endpoint.hostname());
        Ok(Box::new(link))
    }

    /// Decides whether to retry. A failure without a status ended the link; an answer with any status did not.
    fn on_failure(&mut self, error: Error) -> Result<(), Error> {
        let was_answered = error.status().is_some();
        if was_answered && !error.kind().is_retried() {
            self.backoff.stop();
            self.monitor
                .failed("the hub refused a request", &error, None);
            return Err(error);
        }
        let (what, jitter) = match (was_answered, &self.link) {
            (true, _) => ("a request to the hub failed", Duration::ZERO),
            (false, None) => ("the connection to the hub failed", Duration::ZERO),
            (false, Some(link)) => {
                if link.age() > STEADY {
                    self.backoff.reset();
                }
                self.link = None;
                let jitter = self.endpoint.jitter.mul_f64(draw());
                ("the connection to the hub was lost", jitter)
            }
        };
        let (wait, outcome) = match self.backoff.after_failure(error) {
            Ok((wait, error)) => {
                self.monitor.retrying(what, &error, wait + jitter);
                (wait, Ok(()))
            }
            Err(error) => {
                self.backoff.stop();
                match self.link.is_some() {
                    true => self.monitor.failed(what, &error, None),
                    false => self.monitor.gave_up(what, &error),
                }
                (self.backoff.pause(), Err(error))
            }
        };
        self.not_before = Instant::now() + wait + jitter;
        outcome
    }
}

/// Opens a link, with the other proof if the hub refuses the first. The proof that was accepted is used first from then on.
async fn open_with_either_proof(endpoint: HubEndpoint) -> Result<(HubEndpoint, Link), Error> {
    let refusal = match Link::open(&endpoint).await {
        Ok(link) => return Ok((endpoint, link)),
        Err(error) => error,
    };
    match endpoint.other_proof() {
        Some(other) if refusal.kind() == ErrorKind::Unauthorized => {
            debug!(error = %refusal, "the hub refused the credentials: trying the other ones");
            let link = Link::open(&other).await?;
            Ok((other, link))
        }
        _ => Err(refusal),
    }
}

impl fmt::Debug for HubConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConnection")
            .field("hub", &self.endpoint)
            .field("connected", &self.link.is_some())
            .field("known_version", &self.known_version)
            .finish_non_exhaustive()
    }
}
