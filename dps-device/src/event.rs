//! The events of a registration, as a stream and in the log.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dps_types::OperationId;
#[cfg(feature = "certificates")]
use dps_types::Timestamp;
use futures_core::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{debug, info, warn};

use crate::assignment::Assignment;
#[cfg(feature = "certificates")]
use crate::certificate::IssuedCertificate;
use crate::error::Error;
use crate::log_limit::LogLimit;

/// A step of a registration. No event holds a secret.
///
/// ```no_run
/// # async fn example(client: dps_device::ProvisioningClient) {
/// use dps_device::Event;
///
/// let mut events = client.register().events();
/// while let Some(event) = events.next().await {
///     match event {
///         Event::Retrying { error, wait, .. } => eprintln!("again in {wait:?}: {error:#}"),
///         Event::Assigned(assignment) => println!("{}", assignment.hub()),
///         Event::Failed(error) => eprintln!("{error:#}"),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The client opens a session with the service: the first one, or a new one after the last was lost.
    Connecting,
    /// The client sends the registration: the first time, or again because the service lost the operation.
    Registering,
    /// The service is assigning the device.
    #[non_exhaustive]
    Assigning {
        /// The operation of this registration.
        operation_id: OperationId,
        /// The wait before the next poll.
        wait: Duration,
    },
    /// A request failed and is sent again.
    #[non_exhaustive]
    Retrying {
        /// The failure.
        error: Error,
        /// The wait before the request is sent again.
        wait: Duration,
    },
    /// The service refused the primary credentials, and the client uses the secondary ones.
    #[non_exhaustive]
    FallingBack {
        /// The refusal.
        error: Error,
    },
    /// The service issued a certificate, which passed all checks. The next event is [`Assigned`](Self::Assigned).
    #[cfg(feature = "certificates")]
    CertificateIssued(Box<IssuedCertificate>),
    /// The device was assigned.
    Assigned(Box<Assignment>),
    /// The registration failed.
    Failed(Error),
}

/// A registration in progress, as a stream of its events: the outcome, [`Event::Assigned`] or [`Event::Failed`], is the last item.
///
/// The registration makes progress only while the stream is polled. Dropping it ends the registration and closes its connection.
pub struct RegistrationEvents {
    events: UnboundedReceiver<Event>,
    running: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl RegistrationEvents {
    /// The next event, `None` after the last. Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Runs a registration, which also emits its outcome as an event.
    pub(crate) fn new<T, F>(run: impl FnOnce(Events) -> F) -> Self
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (sender, events) = unbounded_channel();
        let running = run(Events::new(Some(sender)));
        Self {
            events,
            running: Some(Box::pin(async {
                let _outcome = running.await;
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

/// Writes events to the log, and sends them to a [`RegistrationEvents`] if there is one.
#[derive(Debug)]
pub(crate) struct Events {
    sender: Option<UnboundedSender<Event>>,
    retries: LogLimit,
}

impl Events {
    /// Writes to the log only.
    pub(crate) fn disabled() -> Self {
        Self::new(None)
    }

    fn new(sender: Option<UnboundedSender<Event>>) -> Self {
        Self {
            sender,
            retries: LogLimit::default(),
        }
    }

    pub(crate) fn emit(&self, event: Event) {
        match &event {
            Event::Connecting => debug!("connecting"),
            Event::Registering => debug!("registering"),
            Event::Assigning { wait, .. } => debug!(?wait, "assigning"),
            Event::Retrying { error, wait } => {
                let error = format_args!("{error:#}");
                if self.retries.allows() {
                    warn!(%error, ?wait, "retrying");
                } else {
                    debug!(%error, ?wait, "retrying");
                }
            }
            Event::FallingBack { error } => {
                warn!(
                    error = %format_args!("{error:#}"),
                    "falling back to the secondary credentials"
                );
            }
            #[cfg(feature = "certificates")]
            Event::CertificateIssued(certificate) => info!(
                valid_until = %Timestamp::from(certificate.valid_until()),
                "a certificate was issued"
            ),
            Event::Assigned(assignment) => info!(hub = %assignment.hub(), "assigned"),
            Event::Failed(error) => {
                warn!(error = %format_args!("{error:#}"), "the registration failed");
            }
        }
        if let Some(sender) = &self.sender {
            // The receiver may have been dropped.
            let _ = sender.send(event);
        }
    }
}
