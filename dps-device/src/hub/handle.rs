//! The handle of a connection, with which any task sends messages and requests.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};

use super::cached_assignment::CachedAssignment;
use super::endpoint::HubEndpoint;
use super::message::Message;
use super::monitor::DeviceState;
use super::outbox::Outcome;
use super::request::{GetTwin, PatchReported, Request, pending};
use super::shared::{Command, Shared};
use super::twin::Twin;
use crate::error::{Error, ErrorKind};
use crate::poll::after;

/// The handle of a connection to a hub, from [`HubEndpoint::connect`] or
/// [`ProvisionedDevice::connect`](crate::ProvisionedDevice::connect). Clones are cheap, and any task may use one.
///
/// Everything happens while the [`DeviceEvents`](crate::DeviceEvents) are polled. A program that awaits a method of a handle and its
/// events in one task uses [`DeviceEvents::drive`](crate::DeviceEvents::drive) or `select!`.
///
/// # Errors
/// A method whose connection has ended returns the reason: [`ErrorKind::Closed`] after [`close`](Self::close), or the error that
/// the [`Recovery`](crate::Recovery) did not retry. Requests that the hub does not answer within the
/// [timeout](crate::ConnectOptions::with_request_timeout) return [`ErrorKind::Deadline`], with the last failure as the source.
///
/// ```no_run
/// # async fn example(client: dps_device::ProvisioningClient) -> Result<(), dps_device::Error> {
/// use dps_device::Message;
/// use serde_json::json;
///
/// let assignment = client.register().await?;
/// let (handle, mut events) = client.hub(&assignment).connect();
/// events.drive(handle.send(Message::json(&json!({"temperature": 21.5}))?)).await?;
/// events.drive(handle.report(json!({"firmware": "1.2.3"}))).await?;
/// let twin = events.drive(handle.twin()).await?;
/// println!("desired: {:?}", twin.desired.as_map());
/// # Ok(())
/// # }
/// ```
///
/// See the page [Your first device in Rust](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/first-device.md#after-the-assignment) of the book.
#[derive(Clone)]
pub struct DeviceHandle {
    pub(super) shared: Arc<Shared>,
}

/// The result of a [`close`](DeviceHandle::close).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The number of accepted messages that the hub has not acknowledged. They are in the queue: a
    /// [`FileQueue`](crate::FileQueue) has them for the next connection.
    pub not_sent: usize,
}

impl DeviceHandle {
    /// Sends a message with QoS 1 and waits until the hub has acknowledged it. While the device is not connected, the message waits
    /// in the queue, without a time limit. See [`ConnectOptions`](crate::ConnectOptions) for what may be lost or sent twice.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue) and of [`Delivery`].
    pub async fn send(&self, message: Message) -> Result<(), Error> {
        self.enqueue(message).await?.await
    }

    /// Puts a message into the queue, and does not wait until it is sent. The returned [`Delivery`] may be dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] if the message is too large. [`ErrorKind::Queue`] if the queue cannot store it, or is full and
    /// [`Overflow::DropNewest`](crate::Overflow::DropNewest) is set. The errors of [`DeviceHandle`].
    pub async fn enqueue(&self, message: Message) -> Result<Delivery, Error> {
        let outcome = self.shared.outbox.accept(&message).await?;
        Ok(Delivery {
            outcome,
            shared: Arc::clone(&self.shared),
        })
    }

    /// Downloads the twin.
    ///
    /// # Errors
    /// See [`DeviceHandle`].
    pub async fn twin(&self) -> Result<Twin, Error> {
        self.request(GetTwin).await
    }

    /// Patches the reported properties and returns their new version: objects are merged, `null` removes a property.
    ///
    /// If the connection is lost before the answer, the patch is sent again. It may therefore be applied twice, which changes
    /// only the version.
    ///
    /// # Errors
    /// See [`DeviceHandle`]. [`ErrorKind::Rejected`], before anything is sent, if the hub would not accept the patch: it is not
    /// a JSON object, is larger than 32 KiB, is nested more than 10 deep, or has an invalid name or value.
    pub async fn report(&self, patch: impl Serialize) -> Result<u64, Error> {
        self.request(PatchReported::new(patch)?).await
    }

    /// The current state.
    pub fn state(&self) -> DeviceState {
        self.shared.monitor.state()
    }

    /// Waits until the device has this state, and returns at once if it has.
    ///
    /// # Errors
    /// The reason if the connection ends before.
    pub async fn wait_for(&self, state: DeviceState) -> Result<(), Error> {
        let mut states = self.shared.monitor.states();
        let reached = async { states.wait_for(|now| *now == state).await.is_ok() };
        tokio::select! {
            biased;
            true = reached => Ok(()),
            () = self.shared.ended() => Err(self.shared.reason()),
        }
    }

    /// The hub that the device is connected to, or was connected to last. `None` before the device has found its hub.
    pub fn hub(&self) -> Option<HubEndpoint> {
        self.shared.endpoint()
    }

    /// The current assignment, with the payload of the custom allocation webhook. `None` before the device has found its hub, and
    /// for a connection without DPS.
    pub fn assignment(&self) -> Option<CachedAssignment> {
        self.shared.assignment()
    }

    /// The number of accepted messages that the hub has not acknowledged.
    pub fn queued(&self) -> usize {
        self.shared.outbox.len()
    }

    /// Connects again with new credentials when nothing is in progress, or after a short wait. Call it when the
    /// device has another key or certificate. Tokens are renewed without it.
    ///
    /// # Errors
    /// The reason if the connection has ended.
    pub async fn renew(&self) -> Result<(), Error> {
        let sent = self.shared.commands.send(Command::Renew).await;
        sent.map_err(|_| self.shared.reason())
    }

    /// Registers with DPS again and connects to the hub that it returns. Returns when the device is assigned.
    ///
    /// # Errors
    /// Those of a registration, after which the device continues with its last assignment. [`ErrorKind::Unsupported`] for a
    /// connection without DPS.
    pub async fn reprovision(&self) -> Result<(), Error> {
        self.command(Command::Reprovision).await
    }

    /// Removes the assignment, also from the store, and registers again as if the device were new.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] if the assignment may still be in the store. [`ErrorKind::Unsupported`] for a connection
    /// without DPS.
    pub async fn forget(&self) -> Result<(), Error> {
        self.command(Command::Forget).await
    }

    /// Ends the connection in order: accepts nothing more, sends what was accepted, waits for the acknowledgements and for the
    /// requests in progress, and disconnects. After the limit it disconnects in any case.
    ///
    /// The events must be polled in the meantime; they end when the connection has ended.
    pub async fn close(&self, limit: Duration) -> Closed {
        let deadline = after(limit);
        self.shared.close_by(deadline);
        // The events may no longer be polled.
        let _ = timeout_at(deadline + Duration::from_secs(1), self.shared.ended()).await;
        Closed {
            not_sent: self.shared.outbox.len(),
        }
    }

    async fn command(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Command,
    ) -> Result<(), Error> {
        let (sender, outcome) = oneshot::channel();
        let sent = self.shared.commands.send(command(sender)).await;
        sent.map_err(|_| self.shared.reason())?;
        outcome.await.unwrap_or_else(|_| Err(self.shared.reason()))
    }

    /// Sends a request and waits for its response, also after reconnects.
    pub(super) async fn request<R: Request>(&self, request: R) -> Result<R::Response, Error> {
        let _in_progress = self.shared.in_progress();
        let (request, response) = pending(request);
        let work = async {
            let sent = self.shared.requests.send(request).await;
            sent.map_err(|_| self.shared.reason())?;
            response.await.unwrap_or_else(|_| Err(self.shared.reason()))
        };
        let limit = self.shared.request_timeout;
        timeout(limit, work).await.unwrap_or_else(|_| {
            let what = format!("the hub did not answer within {limit:?}");
            let error = Error::new(ErrorKind::Deadline, what);
            Err(match self.shared.monitor.last_failure() {
                Some(failure) => error
                    .with_retry_after(failure.retry_after())
                    .with_source(failure),
                None => error,
            })
        })
    }
}

impl fmt::Debug for DeviceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceHandle")
            .field("hub", &self.hub())
            .field("state", &self.state())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

/// The outcome of one message: a future that is ready when the hub has acknowledged it. Dropping it does not recall the message.
///
/// # Errors
/// [`ErrorKind::Queue`] if the message was dropped for a newer one or is damaged in the queue. [`ErrorKind::Closed`], or the
/// reason for which the connection ended, if it was not acknowledged before the end.
///
/// ```no_run
/// # async fn example(
/// #     handle: dps_device::DeviceHandle, mut events: dps_device::DeviceEvents,
/// # ) -> Result<(), dps_device::Error> {
/// use dps_device::Message;
///
/// let first = events.drive(handle.enqueue(Message::new("1"))).await?;
/// let second = events.drive(handle.enqueue(Message::new("2"))).await?;
/// events.drive(first).await?; // acknowledged by the hub
/// events.drive(second).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "it has the outcome of the message"]
pub struct Delivery {
    outcome: Outcome,
    shared: Arc<Shared>,
}

impl Future for Delivery {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(context));
        Poll::Ready(outcome.unwrap_or_else(|_| Err(self.shared.reason())))
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::DeviceEvents;

    #[test]
    fn handles_are_send_and_sync_and_events_are_send() {
        fn any_task<T: Clone + Send + Sync + 'static>() {}
        fn one_task<T: Send + 'static>() {}
        any_task::<DeviceHandle>();
        one_task::<DeviceEvents>();
        one_task::<Delivery>();
    }
}
