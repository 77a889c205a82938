//! Connects to the hub: the handle and the events of one connection.

use super::driver;
use super::endpoint::HubEndpoint;
use super::finder::Finder;
use super::handle::DeviceHandle;
use super::monitor::Monitor;
use super::options::ConnectOptions;
use super::stream::DeviceEvents;

impl HubEndpoint {
    /// Opens one connection to the hub for telemetry, the twin, messages and direct methods.
    ///
    /// Nothing happens until the events are polled. The connection recovers from network failures: it is opened again when it
    /// is lost or its password expires, with the other key if the hub refuses the first, as [`Recovery`](crate::Recovery)
    /// describes. Failures are logged at `warn` with their causes: the first one, and then one a minute.
    ///
    /// The program can do everything in one loop:
    ///
    /// ```no_run
    /// # async fn one_loop(hub: dps_device::HubEndpoint) -> Result<(), dps_device::Error> {
    /// use std::time::Duration;
    /// use dps_device::{DeviceEvent, Message};
    ///
    /// let (handle, mut events) = hub.connect();
    /// let mut tick = tokio::time::interval(Duration::from_secs(10));
    /// loop {
    ///     tokio::select! {
    ///         event = events.next() => match event {
    ///             Some(DeviceEvent::Desired(change)) => println!("desired: {:?}", change.as_map()),
    ///             Some(DeviceEvent::Message(message)) => println!("{} bytes", message.payload().len()),
    ///             Some(_) => {}
    ///             None => return Ok(()),
    ///         },
    ///         _ = tick.tick() => {
    ///             // It is queued here, and sent while the events are polled.
    ///             let message = Message::new("21.5");
    ///             drop(events.drive(handle.enqueue(message)).await?);
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Or in several tasks, each with a clone of the handle:
    ///
    /// ```no_run
    /// # async fn tasks(hub: dps_device::HubEndpoint) -> Result<(), dps_device::Error> {
    /// use std::time::Duration;
    /// use dps_device::{DeviceEvent, Message};
    ///
    /// let (handle, mut events) = hub.connect();
    /// let receiving = tokio::spawn(async move {
    ///     while let Some(event) = events.next().await {
    ///         if let DeviceEvent::Failed { error, .. } = event {
    ///             eprintln!("{error:#}");
    ///         }
    ///     }
    /// });
    /// let sensor = handle.clone();
    /// let sending = tokio::spawn(async move { sensor.send(Message::new("21.5")).await });
    /// sending.await.expect("the task does not panic")?;
    /// let closed = handle.close(Duration::from_secs(10)).await;
    /// println!("{} messages were not sent", closed.not_sent);
    /// receiving.await.expect("the task does not panic");
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(&self) -> (DeviceHandle, DeviceEvents) {
        self.connect_with(ConnectOptions::new())
    }

    /// Connects like [`connect`](Self::connect), with these options.
    pub fn connect_with(&self, options: ConnectOptions) -> (DeviceHandle, DeviceEvents) {
        driver::start(
            Finder::Fixed(Box::new(self.clone())),
            options,
            Monitor::new(),
        )
    }
}
