//! The linked hubs: who is in their registries, with which twin, and who is connected.
//!
//! A device and its twin are one value in the store, so that an assignment, which may take a device from one hub to
//! another, is one change there.

mod device;
mod devices;
mod handle;
mod limits;
mod live;
mod section;
mod settle;
mod twin;
mod view;

use std::sync::Arc;
use std::time::Duration;

use dps_types::protocol::IfMatch;
use dps_types::sas::SasToken;
use dps_types::{
    DeviceId, ErrorCode, HubHostname, ServiceConnectionString, SymmetricKey, Timestamp,
};
use serde_json::Value;
use tokio::sync::Mutex;

pub(crate) use device::Authentication;
pub use handle::{HubDevice, HubHandle};
pub(crate) use limits::LimitError;
pub(crate) use live::Attached;
pub(crate) use settle::{Arrival, Carry, Settlement};
pub(crate) use twin::{Twin, TwinPatch};

use crate::attest::Presented;
use crate::service_error::ServiceError;
use crate::state::store::Store;
use device::Device;
use devices::{key, write};
use dps_types::Clock;
use live::Live;

/// The shared access policy of every hub.
const POLICY: &str = "iothubowner";

/// All linked hubs.
#[derive(Debug)]
pub(crate) struct Hubs {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    linked: Vec<LinkedHub>,
    live: Live,
    /// Devices hear of changes in their order.
    telling: Mutex<()>,
}

/// A hub, and what its operators sign with.
#[derive(Debug)]
struct LinkedHub {
    hostname: HubHostname,
    connection: ServiceConnectionString,
}

/// A device that was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) attached: Attached,
    /// When its token ends.
    pub(crate) expires_in: Option<Duration>,
}

impl Hubs {
    /// Each hub has a key of its own, made from the service key: it stays as long as that does. `host` is where they all are.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        names: Vec<HubHostname>,
        service_key: &SymmetricKey,
        host: &str,
    ) -> Result<Self, dps_types::ParseError> {
        let linked = |hostname: HubHostname| {
            let name = format!("{POLICY}@{}", hostname.to_lowercase());
            let key = SymmetricKey::from_bytes(service_key.hmac_sha256(name.as_bytes()))?;
            let connection = ServiceConnectionString::new(host, POLICY, key)?;
            Ok(LinkedHub {
                hostname,
                connection,
            })
        };
        Ok(Self {
            store,
            clock,
            linked: names.into_iter().map(linked).collect::<Result<_, _>>()?,
            live: Live::default(),
            telling: Mutex::new(()),
        })
    }

    /// The linked hub of this name, as it was linked.
    pub(crate) fn linked(&self, name: &str) -> Option<&HubHostname> {
        let hubs = self.linked.iter().map(|hub| &hub.hostname);
        hubs.into_iter()
            .find(|hub| hub.as_str().eq_ignore_ascii_case(name))
    }

    /// The hub whose operator signed this token. It claims one of the `hosts` or the hub's own name, or what is below it and
    /// leads to `path`.
    pub(crate) fn signed(
        &self,
        token: &SasToken,
        hosts: &[String],
        path: &str,
    ) -> Option<&HubHostname> {
        if token.expires_at() < self.clock.now() || token.policy() != Some(POLICY) {
            return None;
        }
        let authority = token.resource().split('/').next().unwrap_or_default();
        let claimed = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let ours = hosts.iter().any(|host| host.eq_ignore_ascii_case(claimed));
        self.linked
            .iter()
            .filter(|hub| ours || hub.hostname.as_str().eq_ignore_ascii_case(claimed))
            .filter(|_| token.covers(&format!("{authority}{path}")))
            .find(|hub| token.verify(hub.connection.shared_access_key()))
            .map(|hub| &hub.hostname)
    }

    /// Lets a device in that proves who it is.
    pub(crate) async fn admit(
        &self,
        hub: &HubHostname,
        device_id: &DeviceId,
        presented: &Presented<'_>,
    ) -> Result<Admitted, ServiceError> {
        let hub = self
            .linked(hub.as_str())
            .ok_or_else(ServiceError::unauthorized)?;
        let now = self.clock.now();
        let (device, _) = self
            .device(hub, device_id)
            .await?
            .ok_or_else(ServiceError::unauthorized)?;
        if !device.recognises(hub, presented, now) {
            return Err(ServiceError::unauthorized());
        }
        let expires_in = match presented {
            Presented::Token(token) => {
                Some(token.expires_at().duration_since(now).unwrap_or_default())
            }
            _ => None,
        };
        let attached = self.live.attach(key(hub, device_id), now.into());
        // Who was removed or disabled in between has not been told.
        let again = self.device(hub, device_id).await?;
        if !again.is_some_and(|(device, _)| device.recognises(hub, presented, now)) {
            return Err(ServiceError::unauthorized());
        }
        Ok(Admitted {
            attached,
            expires_in,
        })
    }

    /// The twin as the device sees it.
    pub(crate) async fn twin_for_device(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
    ) -> Result<Value, ServiceError> {
        let (device, _) = self.required(hub, id).await?;
        Ok(device.twin.for_device())
    }

    /// The device patches its reported properties. Gives their version.
    pub(crate) async fn report(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
        patch: &serde_json::Map<String, Value>,
    ) -> Result<u64, ServiceError> {
        let now = self.now();
        self.change(hub, id, |device| Ok(device.twin.report(patch, now)?))
            .await
    }

    pub(crate) fn count_telemetry(&self, hub: &HubHostname, id: &DeviceId) {
        self.live.count_telemetry(&key(hub, id), self.now());
    }

    /// The back end patches tags and desired properties, or replaces them.
    pub(crate) async fn update_twin(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
        patch: &TwinPatch,
        replace: bool,
        condition: Option<&IfMatch>,
    ) -> Result<(), ServiceError> {
        let now = self.now();
        let _order = self.telling.lock().await;
        let update = self
            .change(hub, id, |device| {
                check(condition, &device.twin.etag())?;
                match replace {
                    true => Ok(Some(device.twin.replace(patch, now)?)),
                    false => Ok(device.twin.patch(patch, now)?),
                }
            })
            .await?;
        if let Some(update) = update {
            self.live.tell(&key(hub, id), update);
        }
        Ok(())
    }

    /// A device that is disabled is disconnected, too.
    async fn set_enabled(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
        enabled: bool,
    ) -> Result<(), ServiceError> {
        let now = self.now();
        self.change(hub, id, |device| {
            device.set_enabled(enabled, now);
            Ok(())
        })
        .await?;
        if !enabled {
            self.live.end(&key(hub, id));
        }
        Ok(())
    }

    /// Removes the device, and ends its connection.
    pub(crate) async fn remove(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
        condition: Option<&IfMatch>,
    ) -> Result<(), ServiceError> {
        self.delete(hub, id, |device| check(condition, &device.etag))
            .await?;
        self.live.end(&key(hub, id));
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

impl From<LimitError> for ServiceError {
    fn from(error: LimitError) -> Self {
        match error.is_size {
            true => Self::new(ErrorCode::MESSAGE_TOO_LARGE, error.to_string()),
            false => Self::invalid(error.to_string()),
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
