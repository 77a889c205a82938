//! A policy that keeps a device at its current hub.

use std::fmt;

use async_trait::async_trait;
use dps_types::AllocationRequest;

use crate::{Allocation, AllocationPolicy, Rejection};

/// Keeps a device at the hub to which it is assigned, as long as that hub is linked, and calls another policy for all
/// other devices.
///
/// The other policy is not called for a device that stays, so that device receives no payload from it.
///
/// ```
/// use dps_allocation::policies::{EvenlyWeighted, Sticky};
///
/// let policy = Sticky::or(EvenlyWeighted::new()); // a new device gets one of the linked hubs
/// # drop(policy);
/// ```
pub struct Sticky(Box<dyn AllocationPolicy>);

impl Sticky {
    /// Sets the policy for devices that are not assigned yet, or whose hub is no longer linked.
    pub fn or(policy: impl AllocationPolicy + 'static) -> Self {
        Self(Box::new(policy))
    }
}

#[async_trait]
impl AllocationPolicy for Sticky {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let current = request
            .device_runtime_context
            .current_iot_hub_host_name
            .as_ref();
        match current.filter(|hub| request.links(hub)) {
            Some(hub) => Ok(Allocation::to(hub.clone())),
            None => self.0.allocate(request).await,
        }
    }
}

impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sticky").finish_non_exhaustive()
    }
}
