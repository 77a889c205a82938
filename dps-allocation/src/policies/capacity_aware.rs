//! No more devices to a hub than it has room for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dps_types::{AllocationRequest, HubHostname};
use futures_util::future::try_join_all;

use crate::{Allocation, AllocationPolicy, Rejection};

/// Who knows how many devices a hub has.
#[async_trait]
pub trait DeviceCounter: Send + Sync {
    /// How many devices this hub has now. Asked at every registration, for all hubs with a capacity at once: keep it
    /// cheap, a cached figure will do.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] ends the registration.
    async fn devices(&self, hub: &HubHostname) -> Result<u64, Rejection>;
}

#[async_trait]
impl<C: DeviceCounter + ?Sized> DeviceCounter for Arc<C> {
    async fn devices(&self, hub: &HubHostname) -> Result<u64, Rejection> {
        (**self).devices(hub).await
    }
}

/// Takes hubs that are full from the request, and asks another policy about the rest.
///
/// A device never loses its place: the hub that it is assigned to counts as free. The count is read before the device is
/// assigned, so devices that register at the same moment may go over the capacity by as many as they are.
pub struct CapacityAware {
    counter: Box<dyn DeviceCounter>,
    capacities: BTreeMap<HubHostname, u64>,
    policy: Box<dyn AllocationPolicy>,
}

impl CapacityAware {
    /// Asks this policy about the hubs that have room, by this count.
    pub fn new(
        counter: impl DeviceCounter + 'static,
        policy: impl AllocationPolicy + 'static,
    ) -> Self {
        Self {
            counter: Box::new(counter),
            capacities: BTreeMap::new(),
            policy: Box::new(policy),
        }
    }

    /// How many devices a hub may have. A hub without a capacity is never full.
    #[must_use]
    pub fn with_capacity(mut self, hub: HubHostname, devices: u64) -> Self {
        self.capacities.insert(hub, devices);
        self
    }

    async fn has_room(
        &self,
        hub: &HubHostname,
        current: Option<&HubHostname>,
    ) -> Result<bool, Rejection> {
        match self.capacities.get(hub) {
            Some(capacity) if current != Some(hub) => {
                Ok(self.counter.devices(hub).await? < *capacity)
            }
            _ => Ok(true),
        }
    }
}

#[async_trait]
impl AllocationPolicy for CapacityAware {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let current = request
            .device_runtime_context
            .current_iot_hub_host_name
            .as_ref();
        let hubs = &request.linked_hubs;
        let room = try_join_all(hubs.iter().map(|hub| self.has_room(hub, current))).await?;
        if !room.contains(&true) {
            return Err(Rejection::new("every linked hub is full").with_status(503));
        }
        let mut request = request.clone();
        let mut room = room.into_iter();
        request.linked_hubs.retain(|_| room.next() == Some(true));
        self.policy.allocate(&request).await
    }
}

impl fmt::Debug for CapacityAware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapacityAware")
            .field("capacities", &self.capacities)
            .finish_non_exhaustive()
    }
}
