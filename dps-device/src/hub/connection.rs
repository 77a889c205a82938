//! A connection to a hub that outlives its links: it reconnects, renews its password, and misses no change.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use super::Work;
use super::backoff::Backoff;
use super::limits;
use super::link::Link;
use super::settings::HubEndpoint;
use super::twin::{Twin, TwinProperties};
use crate::error::{Error, ErrorKind};
use crate::poll::draw;

/// A link that has lived for so long is no sign of trouble when it ends.
const STEADY: Duration = Duration::from_secs(60);

/// A device's connection to its hub, for the twin: from [`HubEndpoint::connect`].
///
/// It makes up for what a network does: a lost connection is made again, with growing waits, until the
/// [timeout](HubEndpoint::with_timeout), and so is one whose password runs out. The device's second proof is used where the hub
/// refuses the first. 429 and 5xx are tried again, not before the hub allows.
///
/// Nothing goes on unless a method is awaited: call [`next`](Self::next) while there is nothing else to do, since that also
/// keeps the connection alive. Dropping a future of [`next`](Self::next) or [`twin`](Self::twin) loses nothing, so both may
/// stand in a `select!`. Dropping the connection closes it.
///
/// # Errors
/// All methods give [`ErrorKind::Deadline`] when there is no getting through (with the failure behind it),
/// [`ErrorKind::Unauthorized`] when the hub refuses the device, its second proof too where it has one, and the other kinds as
/// they say. After an error the next call tries again.
pub struct HubConnection {
    hub: HubEndpoint,
    link: Option<Box<Link>>,
    dialing: Option<Work<(HubEndpoint, Link)>>,
    /// When to dial, or to ask, at the earliest.
    not_before: Instant,
    backoff: Backoff,
    /// The version of the desired properties that the caller has.
    seen: Option<u64>,
}

/// What has become of the desired properties.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TwinUpdate {
    /// The operator has changed them: only what changed, to be [merged](TwinProperties::merge).
    Desired(TwinProperties),
    /// The whole twin, since the device has none yet, or was away and has missed a change.
    Twin(Twin),
}

impl HubConnection {
    /// The hub, as it is connected to.
    pub fn hub(&self) -> &HubEndpoint {
        &self.hub
    }

    /// Downloads the twin.
    ///
    /// # Errors
    /// See [`HubConnection`].
    pub async fn twin(&mut self) -> Result<Twin, Error> {
        let mut backoff = Backoff::new(&self.hub);
        loop {
            let link = self.link().await?;
            match link.twin().await {
                Ok(twin) => {
                    link.caught_up = true;
                    self.seen = Some(twin.desired.version());
                    return Ok(twin);
                }
                Err(error) => self.failed(error, &mut backoff)?,
            }
        }
    }

    /// Patches the reported properties, and gives their new version: objects are merged, `null` removes a property.
    ///
    /// When the connection is lost before the answer, the patch is sent again: it may be applied twice, which changes nothing
    /// but the version.
    ///
    /// # Errors
    /// See [`HubConnection`]; [`ErrorKind::Rejected`], before anything is sent, when the hub would refuse the patch: it is no
    /// JSON object, is larger than 32 KiB, is nested more than 10 deep, or a name or value is not as it must be.
    pub async fn report(&mut self, patch: impl Serialize) -> Result<u64, Error> {
        self.report_json(&encode(patch)?).await
    }

    /// The next change of the desired properties: in order, each once, and none is missed. The first item is the whole twin,
    /// unless [`twin`](Self::twin) was called before.
    ///
    /// It waits as long as nothing changes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// See [`HubConnection`].
    pub async fn next(&mut self) -> Result<TwinUpdate, Error> {
        loop {
            let seen = self.seen;
            let link = self.link().await?;
            if !link.caught_up {
                let twin = self.twin().await?;
                if seen == Some(twin.desired.version()) {
                    continue;
                }
                return Ok(TwinUpdate::Twin(twin));
            }
            match link.change().await {
                Ok(Some(change)) => match seen {
                    Some(seen) if change.version() <= seen => {}
                    Some(seen) if change.version() == seen + 1 => {
                        self.seen = Some(change.version());
                        return Ok(TwinUpdate::Desired(change));
                    }
                    _ => {
                        debug!("a change is missing");
                        link.caught_up = false;
                    }
                },
                Ok(None) => self.link = None,
                Err(error) => self.lost(error)?,
            }
        }
    }

    /// Not connected yet.
    pub(super) fn new(hub: HubEndpoint) -> Self {
        Self {
            link: None,
            dialing: None,
            not_before: Instant::now(),
            backoff: Backoff::new(&hub),
            hub,
            seen: None,
        }
    }

    pub(super) async fn report_json(&mut self, patch: &[u8]) -> Result<u64, Error> {
        let mut backoff = Backoff::new(&self.hub);
        loop {
            match self.link().await?.report(patch.to_vec()).await {
                Ok(version) => return Ok(version),
                Err(error) => self.failed(error, &mut backoff)?,
            }
        }
    }

    /// The link, once there is one and the hub allows the next request.
    pub(super) async fn link(&mut self) -> Result<&mut Link, Error> {
        sleep_until(self.not_before).await;
        let link = match self.link.take().filter(|link| !link.is_stale()) {
            Some(link) => link,
            None => self.dial().await?,
        };
        Ok(self.link.insert(link))
    }

    async fn dial(&mut self) -> Result<Box<Link>, Error> {
        loop {
            sleep_until(self.not_before).await;
            let dialing = match self.dialing.take() {
                Some(dialing) => dialing,
                None => Box::pin(dial(self.hub.clone())),
            };
            let dialed = self.dialing.insert(dialing).await;
            self.dialing = None;
            match dialed {
                Ok((hub, link)) => {
                    info!(hub = %hub.hostname(), device_id = %hub.device_id(), "connected");
                    self.hub = hub;
                    return Ok(Box::new(link));
                }
                Err(error) => self.wait_to_dial(error)?,
            }
        }
    }

    /// What becomes of a request that failed. An answer, whatever it says, leaves the link as it is.
    fn failed(&mut self, error: Error, backoff: &mut Backoff) -> Result<(), Error> {
        if error.status().is_none() {
            self.lost(error.clone())?;
        }
        let wait = backoff.failed(error)?;
        if self.link.is_some() {
            self.not_before = Instant::now() + wait;
        }
        Ok(())
    }

    /// The link has ended.
    fn lost(&mut self, error: Error) -> Result<(), Error> {
        info!(%error, "the connection to the hub was lost");
        self.backoff.begin_anew();
        if self.link.take().is_some_and(|link| link.age() > STEADY) {
            self.backoff.succeeded();
        }
        self.wait_to_dial(error)?;
        self.not_before += self.hub.jitter.mul_f64(draw());
        Ok(())
    }

    fn wait_to_dial(&mut self, error: Error) -> Result<(), Error> {
        let (wait, outcome) = match self.backoff.failed(error) {
            Ok(wait) => (wait, Ok(())),
            Err(error) => {
                self.backoff.begin_anew();
                (self.backoff.pause(), Err(error))
            }
        };
        self.not_before = Instant::now() + wait;
        outcome
    }
}

/// With the second proof where the hub refuses the first. The one that was taken stays the first choice.
async fn dial(hub: HubEndpoint) -> Result<(HubEndpoint, Link), Error> {
    let refusal = match Link::open(&hub).await {
        Ok(link) => return Ok((hub, link)),
        Err(error) => error,
    };
    match hub.other() {
        Some(other) if refusal.kind() == ErrorKind::Unauthorized => {
            debug!(error = %refusal, "falling back to the other proof");
            let link = Link::open(&other).await?;
            Ok((other, link))
        }
        _ => Err(refusal),
    }
}

/// The patch as it goes out, if the hub will take it.
pub(super) fn encode(patch: impl Serialize) -> Result<Vec<u8>, Error> {
    let value = serde_json::to_value(patch).map_err(|error| {
        Error::new(ErrorKind::Rejected, "the patch cannot be written as JSON").with_source(error)
    })?;
    limits::patch(value)
}

impl fmt::Debug for HubConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConnection")
            .field("hub", &self.hub)
            .field("connected", &self.link.is_some())
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
