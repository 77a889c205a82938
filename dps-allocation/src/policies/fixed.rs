//! A policy that always chooses the same hub.

use async_trait::async_trait;
use dps_types::{AllocationRequest, HubHostname};

use crate::{Allocation, AllocationPolicy, Rejection};

/// Always chooses the same hub.
///
/// It does not check that the hub is linked: [`Webhook`](crate::Webhook) and
/// [`Fallback`](crate::policies::Fallback) do.
///
/// ```
/// use dps_allocation::policies::Fixed;
///
/// let policy = Fixed::to("toasters.azure-devices.net".parse()?);
/// # drop(policy);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fixed(HubHostname);

impl Fixed {
    /// Chooses this hub.
    pub fn to(hub: HubHostname) -> Self {
        Self(hub)
    }
}

#[async_trait]
impl AllocationPolicy for Fixed {
    async fn allocate(&self, _request: &AllocationRequest) -> Result<Allocation, Rejection> {
        Ok(Allocation::to(self.0.clone()))
    }
}
