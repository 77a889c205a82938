//! A policy that leaves out hubs that have reached their capacity.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dps_types::{AllocationRequest, HubHostname};
use futures_util::future::try_join_all;

use crate::{Allocation, AllocationPolicy, Rejection};

/// Counts the devices of a hub.
#[async_trait]
pub trait DeviceCounter: Send + Sync {
    /// Returns how many devices this hub has now. It is called at every registration, concurrently for all hubs with a
    /// capacity, so it must be fast; a cached number is good enough.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] fails the registration. Use [`Rejection::unavailable`] when the number is not known.
    async fn devices(&self, hub: &HubHostname) -> Result<u64, Rejection>;
}

macro_rules! forward {
    ($($Pointer:ty),*) => {$(
        #[async_trait]
        impl<C: DeviceCounter + ?Sized> DeviceCounter for $Pointer {
            async fn devices(&self, hub: &HubHostname) -> Result<u64, Rejection> {
                (**self).devices(hub).await
            }
        }
    )*};
}

forward!(Arc<C>, Box<C>, &C);

/// Removes full hubs from the request, and calls another policy with the remaining ones.
///
/// A device can always stay: the hub to which it is assigned does not count as full. The count is read before the device is
/// assigned, so devices that register concurrently may exceed the capacity by their number.
///
/// ```
/// # let (north, south): (dps_types::HubHostname, dps_types::HubHostname) =
/// #     ("north.azure-devices.net".parse()?, "south.azure-devices.net".parse()?);
/// use async_trait::async_trait;
/// use dps_allocation::Rejection;
/// use dps_allocation::policies::{CapacityAware, DeviceCounter, EvenlyWeighted};
/// use dps_types::HubHostname;
///
/// struct Registry;
///
/// #[async_trait]
/// impl DeviceCounter for Registry {
///     async fn devices(&self, hub: &HubHostname) -> Result<u64, Rejection> {
///         # drop(hub);
///         Ok(17) // from a database or from the hub
///     }
/// }
///
/// let policy = CapacityAware::new(Registry, EvenlyWeighted::new()).with_capacity(north, 500_000).with_capacity(south, 1_000_000);
/// # drop(policy);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct CapacityAware {
    counter: Box<dyn DeviceCounter>,
    capacities: BTreeMap<HubHostname, u64>,
    policy: Box<dyn AllocationPolicy>,
}

impl CapacityAware {
    /// Calls this policy with the hubs that are not full, according to this counter.
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

    /// Sets how many devices a hub may have. A hub without a capacity is never full.
    #[must_use]
    pub fn with_capacity(mut self, hub: HubHostname, devices: u64) -> Self {
        self.capacities.insert(hub, devices);
        self
    }

    async fn has_capacity(
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
        let has_capacity =
            try_join_all(hubs.iter().map(|hub| self.has_capacity(hub, current))).await?;
        if !has_capacity.contains(&true) {
            return Err(Rejection::new("every linked hub is full").with_status(503));
        }
        let mut request = request.clone();
        let mut has_capacity = has_capacity.into_iter();
        request
            .linked_hubs
            .retain(|_| has_capacity.next() == Some(true));
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
