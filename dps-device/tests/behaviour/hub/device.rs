//! A device for the tests: a handle and its events, in one task.

use std::time::Duration;

use dps_device::{
    ConnectOptions, DeviceEvent, DeviceEvents, DeviceHandle, Error, HubEndpoint, IdentityRecovery,
    Recovery, Twin, TwinProperties,
};
use serde::Serialize;

#[derive(Debug)]
pub(super) struct Device {
    pub(super) handle: DeviceHandle,
    pub(super) events: DeviceEvents,
}

/// The messages that a device receives about its twin.
#[derive(Debug)]
pub(super) enum Update {
    Twin(Twin),
    Desired(TwinProperties),
}

/// Reconnects after 10 ms, and receives nothing that it does not ask for.
pub(super) fn quick() -> ConnectOptions {
    following()
        .without_twin_events()
        .without_messages()
        .without_methods()
}

/// Reconnects after 10 ms, and receives everything.
pub(super) fn following() -> ConnectOptions {
    let recovery = Recovery::new().with_waits(Duration::ZERO, Duration::ZERO);
    ConnectOptions::new().with_recovery(recovery)
}

impl Device {
    /// Connects with [`quick`] options. A failure that is not likely to pass is returned.
    pub(super) async fn connect(hub: &HubEndpoint) -> Result<Self, Error> {
        Self::connect_with(hub, quick()).await
    }

    /// Connects, and follows the twin.
    pub(super) async fn follow(hub: &HubEndpoint) -> Self {
        let options = following().without_messages().without_methods();
        Self::connect_with(hub, options).await.unwrap()
    }

    pub(super) async fn connect_with(
        hub: &HubEndpoint,
        options: ConnectOptions,
    ) -> Result<Self, Error> {
        let (handle, mut events) = hub.connect_with(options);
        loop {
            match events.next().await.unwrap() {
                DeviceEvent::Connected(_) => return Ok(Self { handle, events }),
                DeviceEvent::Failed { error, .. } if !error.is_retryable() => return Err(error),
                _ => {}
            }
        }
    }

    pub(super) async fn twin(&mut self) -> Result<Twin, Error> {
        self.events.drive(self.handle.twin()).await
    }

    pub(super) async fn report(&mut self, patch: impl Serialize) -> Result<u64, Error> {
        self.events.drive(self.handle.report(patch)).await
    }

    /// The next event about the twin.
    pub(super) async fn update(&mut self) -> Update {
        loop {
            match self.events.next().await.unwrap() {
                DeviceEvent::Twin(twin) => return Update::Twin(*twin),
                DeviceEvent::Desired(change) => return Update::Desired(change),
                _ => {}
            }
        }
    }

    /// The next update: true for a whole twin, and the version of the desired properties.
    pub(super) async fn version(&mut self) -> (bool, u64) {
        match self.update().await {
            Update::Twin(twin) => (true, twin.desired.version()),
            Update::Desired(change) => (false, change.version()),
        }
    }

    /// Waits until the connection has ended.
    pub(super) async fn end(&mut self) {
        while self.events.next().await.is_some() {}
    }

    /// Drives the connection forever.
    pub(super) async fn run(&mut self) {
        self.events.drive(std::future::pending::<()>()).await;
    }
}

/// The first failure of a connection with default options, except for what the hub refuses.
pub(super) async fn first_failure(hub: &HubEndpoint) -> Error {
    let recovery = Recovery::new().with_identity(IdentityRecovery::Never);
    let (_handle, mut events) = hub.connect_with(ConnectOptions::new().with_recovery(recovery));
    loop {
        if let DeviceEvent::Failed { error, .. } = events.next().await.unwrap() {
            return error;
        }
    }
}
