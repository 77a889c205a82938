//! The driver of a connection: finds the hub, connects, serves the link, and recovers from failures until the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::endpoint::HubEndpoint;
use super::finder::{DpsFinder, Finder};
use super::follower::Follower;
use super::handle::DeviceHandle;
use super::link::Link;
use super::methods::Methods;
use super::monitor::{Chain, Monitor};
use super::options::ConnectOptions;
use super::recovery::{ConnectBackoff, IdentityRecovery};
#[cfg(feature = "certificates")]
use super::renewal::Renewer;
use super::reply::LinkId;
use super::requests::Requests;
use super::resolve::Reason;
use super::shared::{Command, Inbox, Shared};
use super::stream::DeviceEvents;
use crate::error::{Error, ErrorKind};
use crate::poll::{after, draw};

/// A link that lasted this long counts as healthy: its end does not slow the reconnects down.
const STEADY: Duration = Duration::from_secs(60);

/// Creates a connection, which does nothing until its events are polled.
pub(super) fn start(
    finder: Finder,
    options: ConnectOptions,
    monitor: Monitor,
) -> (DeviceHandle, DeviceEvents) {
    let (shared, inbox) = Shared::new(&options, monitor);
    let shared = Arc::new(shared);
    let driver = Driver {
        backoff: ConnectBackoff::new(&options.recovery),
        methods: Methods::new(options.method_timeout),
        requests: Requests::default(),
        follower: Follower::default(),
        shared: Arc::clone(&shared),
        endpoint: None,
        reason: Reason::Start,
        not_before: Instant::now(),
        refusals: 0,
        outage_ends: None,
        last_link: 0,
        finder,
        options,
        inbox,
    };
    let handle = DeviceHandle {
        shared: Arc::clone(&shared),
    };
    let events = DeviceEvents::new(shared, Box::pin(driver.run_with_renewal(handle.clone())));
    (handle, events)
}

pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Inbox,
    pub(super) options: ConnectOptions,
    pub(super) finder: Finder,
    pub(super) requests: Requests,
    pub(super) methods: Methods,
    pub(super) follower: Follower,
    /// The hub. `None` if it has to be found, for this reason.
    endpoint: Option<HubEndpoint>,
    reason: Reason,
    /// The next attempt starts at this time or later.
    not_before: Instant,
    backoff: ConnectBackoff,
    /// Refusals of the hub or of DPS in a row.
    refusals: u32,
    /// The time at which the device asks DPS about an unreachable hub.
    outage_ends: Option<Instant>,
    last_link: LinkId,
}

/// The reason for which a link or an attempt has ended without a failure.
pub(super) enum End {
    /// The link has to be replaced.
    Renewed,
    Command(Command),
}

/// A failure of an attempt or of a link.
enum Failure {
    /// The hub could not be found.
    Finding(Error),
    /// The hub could not be connected to.
    Connecting(Error),
    /// The link was lost after this time.
    Serving(Error, Duration),
}

impl Driver {
    /// Runs, and renews the certificates of the device meanwhile.
    async fn run_with_renewal(self, handle: DeviceHandle) {
        #[cfg(feature = "certificates")]
        if let Some(keeper) = self.finder.dps().and_then(|dps| dps.certificates.clone()) {
            let renewal = Renewer::new(keeper, handle).run();
            return tokio::select! {
                biased;
                () = self.run() => (),
                () = renewal => (),
            };
        }
        drop(handle);
        self.run().await;
    }

    async fn run(mut self) {
        if let Err(error) = self.shared.outbox.load().await {
            warn!(error = %Chain(&error), "messages of an earlier run cannot be sent");
        }
        let shared = Arc::clone(&self.shared);
        let reason = loop {
            let outcome = tokio::select! {
                biased;
                () = shared.finished() => break Error::closed(),
                outcome = self.attempt() => outcome,
            };
            self.rewind();
            let outcome = match outcome {
                Ok(End::Renewed) => Ok(()),
                Ok(End::Command(command)) => tokio::select! {
                    biased;
                    () = shared.finished() => Err(Error::closed()),
                    () = self.execute(command) => Ok(()),
                },
                Err(failure) => self.recover(failure),
            };
            if let Err(error) = outcome {
                break error;
            }
        };
        self.fail_requests(&reason);
        self.shared.end(&reason);
    }

    /// Finds the hub, connects, and serves the link until its end.
    async fn attempt(&mut self) -> Result<End, Failure> {
        let opened = tokio::select! {
            biased;
            Some(command) = self.inbox.commands.recv() => return Ok(End::Command(command)),
            opened = open(Opening {
                shared: &self.shared,
                finder: &mut self.finder,
                endpoint: &mut self.endpoint,
                follower: &mut self.follower,
                options: &self.options,
                reason: &self.reason,
                not_before: self.not_before,
                link: self.last_link + 1,
            }) => opened,
        };
        let mut link = opened?;
        self.last_link = link.id;
        self.outage_ends = None;
        self.shared.monitor.connected(link.hub.hostname());
        #[cfg(feature = "certificates")]
        if let Some(keeper) = self.finder.dps().and_then(|dps| dps.certificates.as_ref())
            && let Some(leaf) = link
                .hub
                .identity()
                .and_then(|identity| identity.chain().next())
        {
            keeper.connected(leaf);
        }
        let outcome = self.serve(&mut link).await;
        if link.age() > STEADY {
            self.accepted();
        }
        outcome.map_err(|error| Failure::Serving(error, link.age()))
    }

    /// The hub has accepted the device.
    pub(super) fn accepted(&mut self) {
        self.refusals = 0;
        if let Some(finder) = self.finder.dps_mut() {
            finder.succeeded();
        }
    }

    /// Returns true if a refusal by the hub leads to a registration, and not to an error of the request that it refused.
    pub(super) fn recovers_from_refusal(&self) -> bool {
        self.options.recovery.identity == IdentityRecovery::Reprovision
            && self
                .finder
                .dps()
                .is_some_and(|finder| !finder.just_registered)
    }

    /// Messages without an acknowledgement and requests without an answer are sent again over the next link.
    fn rewind(&mut self) {
        self.shared.outbox.rewind();
        self.requests.rewind();
        self.methods.clear();
    }

    /// Decides what to do after a failure.
    ///
    /// # Errors
    /// The failure if the connection ends with it.
    fn recover(&mut self, failure: Failure) -> Result<(), Error> {
        let (what, error) = match failure {
            Failure::Finding(error) => return self.after_registration(error),
            Failure::Connecting(error) => ("the connection to the hub failed", error),
            Failure::Serving(error, age) => {
                if age > STEADY {
                    self.backoff.reset();
                }
                ("the connection to the hub was lost", error)
            }
        };
        match error.kind() {
            ErrorKind::Unauthorized | ErrorKind::NotFound => {
                self.after_refusal("the hub refused the device", error)
            }
            kind if ends(kind) => {
                self.shared.monitor.gave_up(what, &error);
                Err(error)
            }
            _ => {
                self.after_outage();
                let jitter = self.endpoint.as_ref().map(|endpoint| endpoint.jitter);
                let jitter = jitter.unwrap_or_default().mul_f64(draw());
                let wait = self
                    .backoff
                    .wait()
                    .max(error.retry_after().unwrap_or_default());
                self.retry(what, &error, wait + jitter);
                Ok(())
            }
        }
    }

    /// The next attempt uses the stored assignment if there is one.
    fn after_registration(&mut self, error: Error) -> Result<(), Error> {
        let what = "the device could not be registered";
        self.reason = Reason::Start;
        if !error.is_retryable() {
            self.refusals += 1;
        }
        if ends(error.kind()) || self.has_too_many_refusals() {
            self.shared.monitor.gave_up(what, &error);
            return Err(error);
        }
        let pause = self.finder.dps().map(DpsFinder::pause).unwrap_or_default();
        let wait = pause.max(error.retry_after().unwrap_or_default());
        self.retry(what, &error, wait);
        Ok(())
    }

    fn after_refusal(&mut self, what: &'static str, error: Error) -> Result<(), Error> {
        self.refusals += 1;
        let identity = self.options.recovery.identity;
        if identity == IdentityRecovery::Never || self.has_too_many_refusals() {
            self.shared.monitor.gave_up(what, &error);
            return Err(error);
        }
        let recovers = self.recovers_from_refusal();
        let wait = match self.finder.dps() {
            Some(finder) if identity == IdentityRecovery::Reprovision => {
                self.endpoint = None;
                self.reason = Reason::Reprovision;
                finder.pause()
            }
            _ => self.backoff.wait(),
        };
        match recovers {
            // Requests wait for the registration.
            true => self.shared.monitor.retrying(what, &error, wait),
            false => self.retry(what, &error, wait),
        }
        Ok(())
    }

    /// The device asks DPS about a hub that is unreachable for long.
    fn after_outage(&mut self) {
        let recovery = &self.options.recovery;
        let ends = *self
            .outage_ends
            .get_or_insert_with(|| after(recovery.outage_limit()));
        let assignment = self.finder.dps().and_then(|dps| dps.assignment.clone());
        if let Some(assignment) = assignment
            && ends <= Instant::now()
            && recovery.identity == IdentityRecovery::Reprovision
        {
            self.outage_ends = None;
            self.endpoint = None;
            self.reason = Reason::Outage(assignment);
        }
    }

    /// Waits before the next attempt. Requests fail if it is not likely to succeed.
    fn retry(&mut self, what: &'static str, error: &Error, wait: Duration) {
        self.shared.monitor.retrying(what, error, wait);
        self.not_before = after(wait);
        if !error.is_retryable() {
            self.fail_requests(error);
        }
    }

    fn fail_requests(&mut self, error: &Error) {
        self.requests.fail(error);
        while let Ok(request) = self.inbox.requests.try_recv() {
            let _ = request.answered(Err(error.clone()));
        }
    }

    fn has_too_many_refusals(&self) -> bool {
        let max = self.options.recovery.max_refusals;
        max.is_some_and(|max| self.refusals >= max)
    }

    async fn execute(&mut self, command: Command) {
        match command {
            Command::Renew => debug!("the credentials are renewed with the next connection"),
            Command::Reprovision(caller) => {
                let outcome = self.reprovision().await;
                let _ = caller.send(outcome);
            }
            Command::Forget(caller) => {
                let outcome = match self.finder.dps_mut() {
                    Some(finder) => finder.forget().await,
                    None => Err(without_dps()),
                };
                if outcome.is_ok() {
                    self.endpoint = None;
                    self.reason = Reason::Start;
                    self.shared.set_place(None, None);
                }
                let _ = caller.send(outcome);
            }
        }
    }

    /// Registers now. If that fails, the device stays with its last hub.
    async fn reprovision(&mut self) -> Result<(), Error> {
        let monitor = self.shared.monitor.clone();
        let Some(finder) = self.finder.dps_mut() else {
            return Err(without_dps());
        };
        finder.cancel();
        let assignment = match finder.find(Reason::Reprovision, &monitor).await {
            Ok(assignment) => assignment,
            Err(error) => {
                monitor.failed("the device could not be registered", &error, None);
                return Err(error);
            }
        };
        let endpoint = finder.endpoint(&assignment);
        self.follower.new_hub();
        self.shared.set_place(Some(&endpoint), Some(&assignment));
        self.endpoint = Some(endpoint);
        self.not_before = Instant::now();
        Ok(())
    }
}

/// The parts of the driver that open a link, so that a command can arrive in the meantime.
struct Opening<'a> {
    shared: &'a Shared,
    finder: &'a mut Finder,
    endpoint: &'a mut Option<HubEndpoint>,
    follower: &'a mut Follower,
    options: &'a ConnectOptions,
    reason: &'a Reason,
    not_before: Instant,
    link: LinkId,
}

async fn open(opening: Opening<'_>) -> Result<Link, Failure> {
    let Opening {
        shared,
        finder,
        endpoint,
        follower,
        options,
        reason,
        not_before,
        link,
    } = opening;
    sleep_until(not_before).await;
    let mut reason = reason.clone();
    if let (Some(_), Some(dps)) = (&endpoint, finder.dps()) {
        if dps.needs_certificate() {
            *endpoint = None;
            reason = Reason::Reprovision;
        } else {
            *endpoint = endpoint.take().map(|last| dps.with_credentials(last));
        }
    }
    let found = match endpoint {
        Some(endpoint) => endpoint,
        None => {
            let found = finder.find(reason, &shared.monitor).await;
            let found = found.map_err(Failure::Finding)?;
            let last = shared.endpoint();
            let is_same = last.is_some_and(|last| last.is_same_device(&found));
            if !is_same {
                follower.new_hub();
            }
            let assignment = finder.dps().and_then(|dps| dps.assignment.as_ref());
            shared.set_place(Some(&found), assignment);
            endpoint.insert(found)
        }
    };
    shared.monitor.connecting(found.hostname());
    let (accepted, link) = open_with_either_proof(found, options, link)
        .await
        .map_err(Failure::Connecting)?;
    if let Some(accepted) = accepted {
        *found = accepted;
    }
    Ok(link)
}

/// Opens a link, with the other proof if the hub refuses the first. Returns the endpoint with the proof that was accepted, to
/// be used first from then on.
async fn open_with_either_proof(
    endpoint: &HubEndpoint,
    options: &ConnectOptions,
    link: LinkId,
) -> Result<(Option<HubEndpoint>, Link), Error> {
    let refusal = match Link::open(endpoint, options, link).await {
        Ok(link) => return Ok((None, link)),
        Err(error) => error,
    };
    match endpoint.other_proof() {
        Some(other) if refusal.kind() == ErrorKind::Unauthorized => {
            debug!(error = %refusal, "the hub refused the credentials: trying the other credentials");
            let link = Link::open(&other, options, link).await?;
            Ok((Some(other), link))
        }
        _ => Err(refusal),
    }
}

/// Returns true if another attempt cannot help.
fn ends(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidConfiguration
            | ErrorKind::KeyPolicy
            | ErrorKind::Unsupported
            | ErrorKind::ConnectionProfile
    )
}

fn without_dps() -> Error {
    let what = "the connection has no provisioning client, and cannot register";
    Error::new(ErrorKind::Unsupported, what)
}
