//! A DPS instance: its state, its access policies and its settings.
//!
//! Nothing here is global, so that several instances can run in one process.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dps_types::protocol::ApiVersion;
use dps_types::{Clock, HubHostname, IdScope};

use crate::access::Access;
use crate::allocate::Allocator;
use crate::ca_certificates::CaCertificates;
use crate::current::Current;
use crate::hub::Hubs;
use crate::issuance::Issuance;
use crate::limits::{HubAction, Throttle};
use crate::service_error::ServiceError;
use crate::state::State;

/// A DPS instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) id_scope: IdScope,
    pub(crate) state: State,
    pub(crate) cas: CaCertificates,
    pub(crate) throttle: Throttle,
    pub(crate) allocator: Allocator,
    pub(crate) hubs: Arc<Hubs>,
    pub(crate) issuance: Arc<Issuance>,
    /// The service clients that are authorized.
    pub(crate) access: Current<Access>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
}

/// The settings of an instance.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The shortest time that an assignment takes.
    pub(crate) assign_delay: Duration,
    /// Whether the signing certificates of enrollments must chain to a verified CA.
    pub(crate) require_verified_ca: bool,
    /// The value of `Retry-After` for devices.
    pub(crate) retry_after_seconds: u64,
    /// The delay before each MQTT answer.
    pub(crate) mqtt_answer_delay: Duration,
    /// Whether api-versions that Microsoft did not publish are accepted.
    pub(crate) any_api_version: bool,
}

impl Instance {
    pub(crate) fn access(&self) -> Arc<Access> {
        self.access.get()
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Whether the instance accepts requests with this api-version, over every transport.
    pub(crate) fn accepts(&self, version: ApiVersion) -> bool {
        if version.is_known() {
            return true;
        }
        if self.settings.any_api_version {
            tracing::warn!(%version, "accepted an api-version that is not known");
        }
        self.settings.any_api_version
    }

    /// Counts an operation at a hub, and refuses it if there are too many.
    pub(crate) async fn throttle_hub(
        &self,
        action: HubAction,
        hub: &HubHostname,
    ) -> Result<(), ServiceError> {
        self.throttle.hub(action, hub, self.now()).await
    }

    /// The largest body of a device's request, in bytes.
    pub(crate) fn message_limit(&self) -> usize {
        self.state.limits().message_bytes
    }
}
