//! A share of the devices to a new hub, the others as before.

use std::fmt;

use async_trait::async_trait;
use dps_types::{AllocationRequest, HubHostname};

use super::draw::draw;
use crate::{Allocation, AllocationPolicy, Rejection};

/// Sends a share of the devices to one hub, and asks another policy for the others.
///
/// Who belongs to the share depends on the registration id, without regard to case, and on the hub. So a greater share
/// holds all devices of a smaller one: devices move once as the share grows, and back as it shrinks. When the hub is not linked, the other
/// policy is asked for all.
///
/// ```
/// use dps_allocation::policies::{EvenlyWeighted, RollOut};
///
/// let policy = RollOut::percent(5.0, "new.azure-devices.net".parse()?).otherwise(EvenlyWeighted::new());
/// # let _ = policy;
/// # Ok::<(), dps_types::ParseError>(())
/// ```
pub struct RollOut {
    percent: f64,
    hub: HubHostname,
    otherwise: Option<Box<dyn AllocationPolicy>>,
}

impl RollOut {
    /// This percentage of the devices to this hub: 0 to 100; what is outside counts as the nearer of the two, and what is no
    /// number as 0.
    pub fn percent(percent: f64, hub: HubHostname) -> Self {
        Self {
            percent: if percent.is_nan() {
                0.0
            } else {
                percent.clamp(0.0, 100.0)
            },
            hub,
            otherwise: None,
        }
    }

    /// The policy for the others. Without it they are rejected.
    #[must_use]
    pub fn otherwise(mut self, policy: impl AllocationPolicy + 'static) -> Self {
        self.otherwise = Some(Box::new(policy));
        self
    }

    fn takes(&self, request: &AllocationRequest) -> bool {
        let purpose = format!("roll-out {}", self.hub.to_lowercase());
        request.links(&self.hub)
            && draw(&request.registration_id().to_lowercase(), &purpose) * 100.0 < self.percent
    }
}

#[async_trait]
impl AllocationPolicy for RollOut {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        match &self.otherwise {
            _ if self.takes(request) => Ok(Allocation::to(&self.hub)),
            Some(policy) => policy.allocate(request).await,
            None => Err(Rejection::new(format!(
                "the device does not belong to the {} % that go to {}",
                self.percent, self.hub
            ))),
        }
    }
}

impl fmt::Debug for RollOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RollOut")
            .field("percent", &self.percent)
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}
