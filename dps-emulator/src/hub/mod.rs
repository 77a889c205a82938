//! The linked IoT hubs: their devices, twins and connections.
//!
//! A device and its twin are one value in the store, so that an assignment, which may move a device from one hub to
//! another, is one atomic change.

mod all;
mod assignment;
mod blob_name;
mod connections;
mod device;
mod devices;
mod elsewhere;
mod feedback;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod handle;
mod identity;
#[cfg(feature = "control")]
mod imported_twin;
mod message_queue;
mod methods;
mod outgoing_message;
mod registry;
mod renewals;
mod section;
mod subscriptions;
mod telemetry;
mod telemetry_file;
mod telemetry_message;
mod telemetry_stream;
mod token_scope;
mod twin;
mod uploads;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dps_types::protocol::IfMatch;
use dps_types::sas::SasToken;
use dps_types::{ErrorCode, HubHostname, ServiceConnectionString, SymmetricKey, Timestamp};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub(crate) use assignment::{AssignmentChange, NewAssignment, TwinTransfer};
pub(crate) use connections::{DeviceSession, ToDevice};
pub(crate) use device::Authentication;
#[cfg(feature = "control")]
pub(crate) use device::Device as StoredDevice;
pub use feedback::{FeedbackStatus, MessageFeedback};
pub use handle::{HubDevice, HubHandle};
pub(crate) use identity::Identity;
pub use methods::{DirectMethod, MethodResponse};
pub(crate) use methods::{MAX_METHOD_PAYLOAD, MethodCall};
#[cfg(feature = "control")]
pub(crate) use outgoing_message::QueuedMessage;
pub use outgoing_message::{Acknowledgement, CloudToDeviceMessage};
pub(crate) use renewals::{NotBegun, Renewal};
pub(crate) use subscriptions::Subscription;
pub(crate) use telemetry_file::TelemetryFile;
pub use telemetry_message::TelemetryMessage;
pub(crate) use telemetry_message::stamps;
pub(crate) use telemetry_message::{Received as ReceivedTelemetry, message_size};
pub use telemetry_stream::{Telemetry, TelemetryStream};
pub(crate) use twin::{Twin, TwinError, TwinPatch};
pub(crate) use uploads::{BlobFile, CONTAINER};

use crate::attest::Presented;
use crate::current::Current;
use crate::issuance::Issuance;
use crate::limits::Limits;
use crate::replica::{Bus, Message};
use crate::service_error::ServiceError;
use crate::state::store::Store;
use connections::Connections;
use device::Device;
use dps_types::Clock;
use elsewhere::RemoteCalls;
use feedback::ServiceQueue;
use renewals::Renewals;
use telemetry::TelemetryLog;
use uploads::Uploads;

/// The shared access policy of a hub.
pub(crate) const POLICY: &str = "iothubowner";

/// All linked hubs.
#[derive(Debug)]
pub(crate) struct Hubs {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    linked: Current<Vec<LinkedHub>>,
    connections: Connections,
    /// The messages to other replicas, if there can be any.
    bus: Option<Bus>,
    remote_calls: RemoteCalls,
    issuance: Arc<Issuance>,
    renewals: Renewals,
    telemetry: TelemetryLog,
    pub(crate) feedback: ServiceQueue<MessageFeedback>,
    pub(crate) uploads: Uploads,
    limits: Limits,
    /// Held while a message is added to a queue, so that few attempts are needed.
    queue_lock: Mutex<()>,
    /// Ends the streams of telemetry when the emulator stops.
    stop: CancellationToken,
    /// Held while a twin is changed and the device is informed, so that devices receive changes in order.
    update_lock: Mutex<()>,
}

/// A linked hub and the credentials of its back ends.
#[derive(Debug, Clone)]
pub(crate) struct LinkedHub {
    pub(crate) hostname: HubHostname,
    pub(crate) connection: ServiceConnectionString,
}

impl LinkedHub {
    /// A hub with a key of its own, derived from the service key. `host` is the host and port of all hubs.
    pub(crate) fn derived(
        hostname: HubHostname,
        service_key: &SymmetricKey,
        host: &str,
    ) -> Result<Self, dps_types::ParseError> {
        let name = format!("{POLICY}@{}", hostname.to_lowercase());
        let key = SymmetricKey::from_bytes(service_key.hmac_sha256(name.as_bytes()))?;
        let connection = ServiceConnectionString::new(host, POLICY, key)?;
        Ok(Self {
            hostname,
            connection,
        })
    }

    /// Whether the hub's policy and key signed the token.
    pub(crate) fn signed(&self, token: &SasToken) -> bool {
        token.policy() == Some(self.connection.shared_access_key_name())
            && token.verify(self.connection.shared_access_key())
    }
}

/// The settings of all hubs.
#[derive(Debug)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct HubSettings {
    /// The most telemetry messages of one device that are kept.
    pub(crate) kept_telemetry: usize,
    pub(crate) limits: Limits,
    /// The folder of uploaded files.
    pub(crate) upload_dir: Option<PathBuf>,
    pub(crate) stop: CancellationToken,
    /// The messages to the other replicas.
    pub(crate) bus: Option<Bus>,
    /// Verifies the certificates that were issued to devices.
    pub(crate) issuance: Arc<Issuance>,
}

/// A device or module that was admitted to its hub.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) session: DeviceSession,
    pub(crate) generation_id: String,
    /// The remaining lifetime of its token.
    pub(crate) expires_in: Option<Duration>,
}

impl Hubs {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        linked: Vec<LinkedHub>,
        settings: HubSettings,
    ) -> Self {
        Self {
            store,
            clock,
            linked: Current::new(linked),
            connections: Connections::new(settings.bus.is_some()),
            bus: settings.bus,
            remote_calls: RemoteCalls::default(),
            issuance: settings.issuance,
            renewals: Renewals::default(),
            telemetry: TelemetryLog::new(settings.kept_telemetry),
            feedback: ServiceQueue::default(),
            uploads: Uploads::new(settings.upload_dir),
            limits: settings.limits,
            queue_lock: Mutex::new(()),
            stop: settings.stop,
            update_lock: Mutex::new(()),
        }
    }

    /// Replaces the linked hubs. The devices of a hub that is no longer linked stay in the store.
    pub(crate) fn link(&self, hubs: Vec<LinkedHub>) {
        self.linked.set(hubs);
    }

    /// The host name of a linked hub, as it was linked. The case of `name` does not matter.
    pub(crate) fn linked(&self, name: &str) -> Option<HubHostname> {
        let linked = self.linked.get();
        let mut hubs = linked.iter().map(|hub| &hub.hostname);
        hubs.find(|hub| hub.as_str().eq_ignore_ascii_case(name))
            .cloned()
    }

    /// The hub whose key signed this token. The token's resource must be one of the `hosts` or the hub's name, optionally
    /// followed by a prefix of `path`.
    pub(crate) fn signed(
        &self,
        token: &SasToken,
        hosts: &[String],
        path: &str,
    ) -> Option<HubHostname> {
        if token.expires_at() < self.clock.now() {
            return None;
        }
        let resource = token.resource();
        let (authority, below) = resource.split_at(resource.find('/').unwrap_or(resource.len()));
        let claimed = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let ours = hosts.iter().any(|host| host.eq_ignore_ascii_case(claimed));
        let linked = self.linked.get();
        let mut signers = linked
            .iter()
            .filter(|hub| ours || hub.hostname.as_str().eq_ignore_ascii_case(claimed))
            .filter(|_| token_scope::covers(below, path))
            .filter(|hub| hub.signed(token));
        match (signers.next(), signers.next()) {
            (Some(hub), None) => Some(hub.hostname.clone()),
            // With a key of several hubs, the token must be for the name of one.
            _ => None,
        }
    }

    /// The linked hubs with the credentials of their back ends.
    pub(crate) fn linked_hubs(&self) -> Arc<Vec<LinkedHub>> {
        self.linked.get()
    }

    /// Whether the key of a linked hub signed the token.
    pub(crate) fn know_the_key_of(&self, token: &SasToken) -> bool {
        self.linked.get().iter().any(|hub| hub.signed(token))
    }

    /// Admits a device or module with valid credentials and connects it.
    pub(crate) async fn admit(
        &self,
        identity: &Identity,
        presented: &Presented<'_>,
        model_id: Option<String>,
        clean_session: bool,
    ) -> Result<Admitted, ServiceError> {
        let now = self.clock.now();
        let expires_in = match presented {
            Presented::Token(token) => {
                Some(token.expires_at().duration_since(now).unwrap_or_default())
            }
            _ => None,
        };
        self.authenticate(identity, presented).await?;
        let session = self
            .connections
            .connect(identity.key(), now.into(), model_id, clean_session);
        self.inform(|| Message::Connected {
            device: identity.key(),
            connection: session.number(),
        });
        // The device may have been removed or disabled before it was connected. Nothing would disconnect it then.
        let device = self.authenticated(identity, presented).await?;
        self.connections
            .has_desired(&identity.key(), device.twin.desired.version);
        Ok(Admitted {
            session,
            generation_id: device.generation_id,
            expires_in,
        })
    }

    /// Verifies the credentials of a device or module, and returns its generation. A module requires that its device is enabled.
    pub(crate) async fn authenticate(
        &self,
        identity: &Identity,
        presented: &Presented<'_>,
    ) -> Result<String, ServiceError> {
        let device = self.authenticated(identity, presented).await?;
        Ok(device.generation_id)
    }

    async fn authenticated(
        &self,
        identity: &Identity,
        presented: &Presented<'_>,
    ) -> Result<Device, ServiceError> {
        let unauthorized = ServiceError::unauthorized;
        self.linked(identity.hub.as_str())
            .ok_or_else(unauthorized)?;
        let found = self.device(identity).await?;
        let (device, _) = found.ok_or_else(unauthorized)?;
        if !device.accepts(identity, presented, self.clock.now(), &self.issuance) {
            return Err(unauthorized());
        }
        if identity.module_id.is_some() {
            let parent = self.device(&identity.of_device()).await?;
            if !parent.is_some_and(|(parent, _)| parent.enabled) {
                return Err(unauthorized());
            }
        }
        Ok(device)
    }

    /// The twin as the device receives it.
    pub(crate) async fn twin_for_device(&self, identity: &Identity) -> Result<Value, ServiceError> {
        let (device, _) = self.required(identity).await?;
        self.connections
            .has_desired(&identity.key(), device.twin.desired.version);
        Ok(device.twin.for_device())
    }

    /// Patches the reported properties. Returns their new version.
    pub(crate) async fn report(
        &self,
        identity: &Identity,
        patch: &serde_json::Map<String, Value>,
    ) -> Result<u64, ServiceError> {
        let now = self.now();
        self.change(identity, |device| Ok(device.twin.report(patch, now)?))
            .await
    }

    /// Adds a device-to-cloud message.
    pub(crate) fn receive(&self, message: ReceivedTelemetry) {
        let key = message.identity.key();
        self.connections.count_telemetry(&key, message.enqueued);
        self.telemetry.add(key, |number, at_hub| {
            TelemetryMessage::new(message, number, at_hub)
        });
    }

    /// Patches or replaces tags and desired properties, and informs the device if it is connected.
    pub(crate) async fn update_twin(
        &self,
        identity: &Identity,
        patch: &TwinPatch,
        replace: bool,
        condition: Option<&IfMatch>,
    ) -> Result<(), ServiceError> {
        let now = self.now();
        let _order = self.update_lock.lock().await;
        let update = self
            .change(identity, |device| {
                check(condition, &device.twin.etag())?;
                match replace {
                    true => Ok(Some(device.twin.replace(patch, now)?)),
                    false => Ok(device.twin.patch(patch, now)?),
                }
            })
            .await?;
        if let Some(update) = update {
            self.send(&identity.key(), ToDevice::Desired(update));
        }
        Ok(())
    }

    /// Enables or disables the device. A device that is disabled is disconnected.
    async fn set_enabled(&self, identity: &Identity, enabled: bool) -> Result<(), ServiceError> {
        let now = self.now();
        self.change(identity, |device| {
            device.set_enabled(enabled, now);
            Ok(())
        })
        .await?;
        if !enabled {
            self.disconnect(identity).await?;
        }
        Ok(())
    }

    /// Removes a device or module and ends its connection. A device loses its modules and its messages.
    pub(crate) async fn remove(
        &self,
        identity: &Identity,
        condition: Option<&IfMatch>,
    ) -> Result<(), ServiceError> {
        self.delete(identity, |device| check(condition, &device.etag))
            .await?;
        self.end_session(&identity.key());
        self.forget(identity).await
    }

    /// Removes the modules and messages of a device that is no longer in the hub.
    async fn forget(&self, identity: &Identity) -> Result<(), ServiceError> {
        if identity.module_id.is_none() {
            self.forget_modules(identity).await?;
            self.forget_messages(identity).await?;
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

impl From<TwinError> for ServiceError {
    fn from(error: TwinError) -> Self {
        match &error {
            TwinError::Limit(limit) if limit.is_size() => {
                Self::new(ErrorCode::MESSAGE_TOO_LARGE, error.to_string())
            }
            _ => Self::invalid(error.to_string()),
        }
    }
}

fn check(condition: Option<&IfMatch>, etag: &dps_types::ETag) -> Result<(), ServiceError> {
    match condition.is_none_or(|condition| condition.matches(etag)) {
        true => Ok(()),
        false => Err(ServiceError::new(
            ErrorCode::new(412_002),
            "Precondition failed: the device has another version",
        )),
    }
}
