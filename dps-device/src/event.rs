//! A registration watched: what happens, as it happens, and the outcome as the last item.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dps_types::OperationId;
use futures_core::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{debug, info, warn};

use crate::assignment::Assignment;
use crate::error::Error;

/// What happens in a registration. No event holds a secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A session with the service begins: the first, or a new one after the last was lost.
    Connecting,
    /// The device asks to be registered: first, or again where the service forgot the operation.
    Registering,
    /// The service is at work.
    #[non_exhaustive]
    Assigning {
        /// The registration in progress.
        operation_id: OperationId,
        /// After which time we ask again.
        wait: Duration,
    },
    /// Something failed that may get better.
    #[non_exhaustive]
    Retrying {
        /// What failed.
        error: Error,
        /// After which time we try again.
        wait: Duration,
    },
    /// The primary credentials were refused, the secondary ones have their turn.
    #[non_exhaustive]
    FallingBack {
        /// The refusal.
        error: Error,
    },
    /// The good end.
    Assigned(Box<Assignment>),
    /// The other end.
    Failed(Error),
}

/// A registration in progress, as a stream of its events: the outcome, [`Event::Assigned`] or [`Event::Failed`], is the last item.
///
/// Nothing goes on unless it is polled. Dropping it ends the registration and closes its connection.
pub struct RegistrationEvents {
    events: UnboundedReceiver<Event>,
    running: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl RegistrationEvents {
    /// The next event, `None` after the last. Safe to cancel: nothing is lost.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Watches what `run` makes; it tells its outcome as an event too.
    pub(crate) fn new<F>(run: impl FnOnce(Events) -> F) -> Self
    where
        F: Future<Output = Result<Assignment, Error>> + Send + 'static,
    {
        let (sender, events) = unbounded_channel();
        let running = run(Events(Some(sender)));
        Self {
            events,
            running: Some(Box::pin(async {
                let _told = running.await;
            })),
        }
    }
}

impl Stream for RegistrationEvents {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Ok(event) = self.events.try_recv() {
            return Poll::Ready(Some(event));
        }
        if let Some(running) = &mut self.running
            && running.as_mut().poll(context).is_ready()
        {
            self.running = None;
        }
        match self.events.try_recv() {
            Ok(event) => Poll::Ready(Some(event)),
            Err(_) if self.running.is_some() => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    }
}

impl fmt::Debug for RegistrationEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationEvents")
            .field("running", &self.running.is_some())
            .finish_non_exhaustive()
    }
}

/// Where events go: to the log always, to a [`RegistrationEvents`] if there is one.
#[derive(Debug)]
pub(crate) struct Events(Option<UnboundedSender<Event>>);

impl Events {
    pub(crate) fn nobody() -> Self {
        Self(None)
    }

    pub(crate) fn tell(&self, event: Event) {
        match &event {
            Event::Connecting => debug!("connecting"),
            Event::Registering => debug!("registering"),
            Event::Assigning { wait, .. } => debug!(?wait, "assigning"),
            Event::Retrying { error, wait } => warn!(%error, ?wait, "retrying"),
            Event::FallingBack { error } => warn!(%error, "falling back to the secondary"),
            Event::Assigned(assignment) => info!(hub = %assignment.hub(), "assigned"),
            Event::Failed(error) => warn!(%error, "failed"),
        }
        if let Some(sender) = &self.0 {
            // Nobody listens any more: then nobody needs to know.
            let _ = sender.send(event);
        }
    }
}
