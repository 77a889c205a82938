//! A policy that assigns a percentage of the devices to one hub.

use std::fmt;

use async_trait::async_trait;
use dps_types::{AllocationRequest, HubHostname};

use super::draw::draw;
use crate::{Allocation, AllocationPolicy, Rejection};

/// Assigns a percentage of the devices to one hub, and calls another policy for the other devices.
///
/// Whether a device belongs to the percentage depends only on its registration id, ignoring case, and on the hub. A larger
/// percentage contains all devices of a smaller one: a device moves to the hub once when the percentage grows, and back
/// when it shrinks. When the hub is not linked, the other policy is called for all devices.
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
    /// Assigns this percentage of the devices to this hub: 0 to 100. Values outside are clamped; NaN counts as 0.
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

    /// Sets the policy for the other devices. Without it they are rejected.
    #[must_use]
    pub fn otherwise(mut self, policy: impl AllocationPolicy + 'static) -> Self {
        self.otherwise = Some(Box::new(policy));
        self
    }

    fn includes(&self, request: &AllocationRequest) -> bool {
        let purpose = format!("roll-out {}", self.hub.to_lowercase());
        request.links(&self.hub)
            && draw(&request.registration_id().to_lowercase(), &purpose) * 100.0 < self.percent
    }
}

#[async_trait]
impl AllocationPolicy for RollOut {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        match &self.otherwise {
            _ if self.includes(request) => Ok(Allocation::to(self.hub.clone())),
            Some(policy) => policy.allocate(request).await,
            None => Err(Rejection::new(format!(
                "the device is not among the {} % that are assigned to {}",
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
