//! The state that the handles of a connection share with its driver.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::cached_assignment::CachedAssignment;
use super::endpoint::HubEndpoint;
use super::monitor::Monitor;
use super::options::ConnectOptions;
use super::outbox::Outbox;
use super::reply::{Replies, ReplyReceiver, replies};
use super::request::Pending;
use crate::error::Error;

/// The maximum number of requests that wait for the driver. The callers of further requests wait.
const MAX_REQUESTS: usize = 64;
const MAX_COMMANDS: usize = 8;

/// A change of the connection that the program asks for.
pub(super) enum Command {
    /// Connect again with new credentials, as soon as nothing is in progress.
    Renew,
    Reprovision(oneshot::Sender<Result<(), Error>>),
    Forget(oneshot::Sender<Result<(), Error>>),
}

pub(super) struct Shared {
    pub(super) outbox: Outbox,
    pub(super) monitor: Monitor,
    pub(super) requests: mpsc::Sender<Box<dyn Pending>>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) replies: Replies,
    pub(super) request_timeout: Duration,
    /// Requests whose callers wait.
    in_progress: AtomicUsize,
    /// An event that a close waits for has happened.
    progress: Notify,
    /// The time at which a close stops waiting. `None` while no close was requested.
    closing: watch::Sender<Option<Instant>>,
    /// The reason for the end of the connection.
    end: watch::Sender<Option<Error>>,
    place: Mutex<Place>,
}

#[derive(Default)]
struct Place {
    endpoint: Option<HubEndpoint>,
    assignment: Option<CachedAssignment>,
}

/// The driver's side of the channels.
pub(super) struct Inbox {
    pub(super) requests: mpsc::Receiver<Box<dyn Pending>>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) replies: ReplyReceiver,
}

impl Shared {
    pub(super) fn new(options: &ConnectOptions, monitor: Monitor) -> (Self, Inbox) {
        let (request_sender, request_receiver) = mpsc::channel(MAX_REQUESTS);
        let (command_sender, command_receiver) = mpsc::channel(MAX_COMMANDS);
        let (replies, reply_receiver) = replies();
        let shared = Self {
            outbox: Outbox::new(options.queue.clone(), options.limits),
            monitor,
            requests: request_sender,
            commands: command_sender,
            replies,
            request_timeout: options.request_timeout,
            in_progress: AtomicUsize::default(),
            progress: Notify::new(),
            closing: watch::Sender::new(None),
            end: watch::Sender::new(None),
            place: Mutex::default(),
        };
        let inbox = Inbox {
            requests: request_receiver,
            commands: command_receiver,
            replies: reply_receiver,
        };
        (shared, inbox)
    }

    /// Counts a request while its caller waits.
    pub(super) fn in_progress(&self) -> InProgress<'_> {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(self)
    }

    /// Something was sent or answered.
    pub(super) fn progressed(&self) {
        self.progress.notify_one();
    }

    /// Accepts nothing more, and ends the connection when everything is sent or at this time.
    pub(super) fn close_by(&self, deadline: Instant) {
        self.outbox.stop_accepting(&Error::closed());
        self.closing.send_replace(Some(deadline));
        self.progressed();
    }

    /// Waits until a close was requested, and everything is sent or the time limit has passed.
    pub(super) async fn finished(&self) {
        let mut closing = self.closing.subscribe();
        let deadline = match closing.wait_for(Option::is_some).await {
            Ok(deadline) => *deadline,
            Err(_) => return,
        };
        let idle = async {
            while !self.is_idle() {
                self.progress.notified().await;
            }
        };
        if let Some(deadline) = deadline {
            let _ = timeout_at(deadline, idle).await;
        }
    }

    /// The connection has ended for this reason.
    pub(super) fn end(&self, reason: &Error) {
        self.outbox.close(reason);
        self.end.send_if_modified(|end| {
            let is_first = end.is_none();
            end.get_or_insert_with(|| reason.clone());
            is_first
        });
        self.monitor.disconnected();
    }

    /// The reason for the end of the connection, or `Closed` if it has not ended.
    pub(super) fn reason(&self) -> Error {
        self.end.borrow().clone().unwrap_or_else(Error::closed)
    }

    pub(super) async fn ended(&self) {
        let _ = self.end.subscribe().wait_for(Option::is_some).await;
    }

    pub(super) fn set_place(
        &self,
        endpoint: Option<&HubEndpoint>,
        assignment: Option<&CachedAssignment>,
    ) {
        *self.place() = Place {
            endpoint: endpoint.cloned(),
            assignment: assignment.cloned(),
        };
    }

    pub(super) fn endpoint(&self) -> Option<HubEndpoint> {
        self.place().endpoint.clone()
    }

    pub(super) fn assignment(&self) -> Option<CachedAssignment> {
        self.place().assignment.clone()
    }

    fn is_idle(&self) -> bool {
        self.outbox.len() == 0
            && self.in_progress.load(Ordering::Relaxed) == 0
            && !self.replies.is_waiting()
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct InProgress<'a>(&'a Shared);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
        self.0.progressed();
    }
}
