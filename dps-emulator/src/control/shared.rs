//! The clock, the faults and the recorder of emulators that share a store: a change at one control endpoint applies to all of them.

use std::sync::Arc;

use dps_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::Control;
use super::reply::Failure;
use crate::replica::{Envelope, Message};
use crate::service_error::ServiceError;
use crate::state::store::{Expected, Notification, Table};
use crate::state::{decode, encode};

/// The key of the clock's offset in nanoseconds, in the table of settings.
const OFFSET: &str = "clock-offset";
/// The key of the recorder's state, in the table of settings.
const RECORDER: &str = "recorder";

/// The state of the recorder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecorderState {
    is_on: bool,
    /// `None` if nothing was ever recorded.
    started: Option<Timestamp>,
    has_keys: bool,
}

impl Control {
    /// Writes the clock's offset to the store, if other emulators share it, and informs them.
    pub(super) async fn share_clock(&self) -> Result<(), Failure> {
        let state = &self.gateway.instance.state;
        if state.is_shared() {
            let offset = self.clock.offset().to_string().into_bytes();
            let store = state.store();
            let written = store.put(Table::Meta, OFFSET, Expected::Anything, offset);
            written.await.map_err(ServiceError::from)?;
            self.inform();
        }
        Ok(())
    }

    /// Writes the state of the recorder to the store, if other emulators share it, and informs them.
    pub(super) async fn share_recorder(&self) -> Result<(), Failure> {
        let state = &self.gateway.instance.state;
        if state.is_shared() {
            let recorder = &self.gateway.shared.recorder;
            let (started, has_keys) = recorder.head();
            let recorder = encode(&RecorderState {
                is_on: recorder.is_on(),
                started,
                has_keys,
            })?;
            let store = state.store();
            let written = store.put(Table::Meta, RECORDER, Expected::Anything, recorder);
            written.await.map_err(ServiceError::from)?;
            self.inform();
        }
        Ok(())
    }

    /// Informs the other emulators of a change of the clock, the faults or the recorder.
    pub(super) fn inform(&self) {
        self.gateway.instance.hubs.inform(|| Message::Control);
    }

    /// Applies the changes of other control endpoints until the emulator stops.
    pub(super) async fn follow(self: Arc<Self>) {
        let Some(mut notifications) = self.gateway.instance.state.store().notifications() else {
            return;
        };
        self.reload().await;
        let own = self.gateway.instance.state.replica();
        while let Some(notification) = notifications.next().await {
            let message = match notification {
                Notification::Missed => Message::Lost,
                Notification::Message(text) => match Envelope::read(&text) {
                    Some(envelope) if envelope.from != **own => envelope.message,
                    _ => continue,
                },
            };
            match message {
                Message::Control | Message::Lost => self.reload().await,
                Message::Recorded { time, exchange } => {
                    self.gateway.shared.recorder.append(time, exchange);
                }
                _ => {}
            }
        }
    }

    async fn reload(&self) {
        let _sharing = self.sharing.lock().await;
        let reloaded = async {
            let store = self.gateway.instance.state.store();
            let offset = store.get(Table::Meta, OFFSET).await?;
            let offset = offset.and_then(|offset| String::from_utf8(offset).ok());
            let offset = offset.and_then(|offset| offset.parse().ok());
            self.clock.set_offset(offset.unwrap_or(0));
            if let Some(bytes) = store.get(Table::Meta, RECORDER).await? {
                self.set_recorder(&decode(&bytes)?);
            }
            self.gateway.faults.reload().await
        };
        if let Err(error) = reloaded.await {
            let reason = error.message();
            tracing::warn!(
                reason,
                "the shared clock, faults and recorder cannot be read"
            );
        }
    }

    /// Takes over the state of the recorder of another emulator.
    fn set_recorder(&self, state: &RecorderState) {
        let recorder = &self.gateway.shared.recorder;
        let Some(started) = state.started else {
            return recorder.clear();
        };
        if recorder.head().0 != state.started {
            recorder.start(started, state.has_keys);
        }
        if !state.is_on {
            recorder.stop();
        }
    }
}
