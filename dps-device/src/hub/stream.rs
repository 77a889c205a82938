//! The stream of events, whose polling drives the connection.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::future::BoxFuture;

use super::event::DeviceEvent;
use super::shared::Shared;
use crate::error::Error;

/// The events of a connection. Polling them drives it: there is no background task.
///
/// Await [`next`](Self::next) in a loop, in a task of its own or in `select!`. A program that does something else for minutes is
/// disconnected by the hub, and connects again when the events are polled. The stream ends after
/// [`DeviceHandle::close`](crate::DeviceHandle::close), and after a failure that the [`Recovery`](crate::Recovery) does not retry,
/// which is the last event. Dropping the stream closes the connection.
///
/// A slow reader does not disturb the connection. It loses old events about the state of the device, but no data from the hub.
/// Changes of the desired properties are replaced by the whole twin, further messages are delivered again later, and methods
/// are answered with the status 429.
///
/// ```no_run
/// # async fn example(device: dps_device::ProvisionedDevice) {
/// let (_handle, mut events) = device.connect();
/// while let Some(event) = events.next().await {
///     println!("{event:?}");
/// }
/// # }
/// ```
pub struct DeviceEvents {
    shared: Arc<Shared>,
    driver: Option<BoxFuture<'static, ()>>,
}

impl DeviceEvents {
    pub(super) fn new(shared: Arc<Shared>, driver: BoxFuture<'static, ()>) -> Self {
        Self {
            shared,
            driver: Some(driver),
        }
    }

    /// The next event. `None` after the connection has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<DeviceEvent> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Awaits a future, such as a method of the handle, and drives the connection in the meantime. Events that occur are returned by
    /// [`next`](Self::next) later.
    ///
    /// ```no_run
    /// # async fn report(hub: dps_device::HubEndpoint) -> Result<(), dps_device::Error> {
    /// let (handle, mut events) = hub.connect();
    /// events.drive(handle.report(serde_json::json!({"on": true}))).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            self.poll_driver(context);
            // The driver may just have done what the future waits for.
            future.as_mut().poll(context)
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<DeviceEvent>> {
        self.poll_driver(context);
        match self.shared.monitor.events().pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if self.driver.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn poll_driver(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(context).is_ready()
        {
            self.driver = None;
        }
    }
}

impl Stream for DeviceEvents {
    type Item = DeviceEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<DeviceEvent>> {
        self.get_mut().poll(context)
    }
}

impl Drop for DeviceEvents {
    fn drop(&mut self) {
        // Drop the link first, so that nothing more is sent.
        self.driver = None;
        self.shared.end(&Error::closed());
        self.shared.monitor.events().clear();
    }
}

impl fmt::Debug for DeviceEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceEvents")
            .field("state", &self.shared.monitor.state())
            .finish_non_exhaustive()
    }
}
