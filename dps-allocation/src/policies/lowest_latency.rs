//! A policy that chooses the hub with the lowest latency.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dps_types::{AllocationRequest, ErrorCode, HubHostname};
use futures_util::future::try_join_all;

use super::EvenlyWeighted;
use crate::{Allocation, AllocationPolicy, Rejection};

/// A source of latencies between devices and hubs.
#[async_trait]
pub trait LatencySource: Send + Sync {
    /// Returns the latency between this device and this hub, or `None` if it is not known. It is called concurrently for
    /// all linked hubs.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] fails the registration. Return `None`, not an error, for a hub that cannot be measured.
    async fn latency(
        &self,
        request: &AllocationRequest,
        hub: &HubHostname,
    ) -> Result<Option<Duration>, Rejection>;
}

macro_rules! forward {
    ($($Pointer:ty),*) => {$(
        #[async_trait]
        impl<S: LatencySource + ?Sized> LatencySource for $Pointer {
            async fn latency(
                &self,
                request: &AllocationRequest,
                hub: &HubHostname,
            ) -> Result<Option<Duration>, Rejection> {
                (**self).latency(request, hub).await
            }
        }
    )*};
}

forward!(Arc<S>, Box<S>, &S);

/// Chooses the linked hub with the lowest latency. Among equal hubs, [`EvenlyWeighted`] chooses.
///
/// A hub whose latency is not known comes after all others. If no latency is known, all hubs are equal. How DPS measures
/// for its own policy *lowest latency* is not published.
///
/// ```
/// use std::time::Duration;
/// use dps_allocation::policies::{LatencyTable, LowestLatency};
///
/// let table = LatencyTable::by_payload("region")
///     .with("emea", "weu.azure-devices.net".parse()?, Duration::from_millis(12))
///     .with("emea", "eus.azure-devices.net".parse()?, Duration::from_millis(90));
/// let policy = LowestLatency::by(table).equal_within(Duration::from_millis(5));
/// # let _ = policy;
/// # Ok::<(), dps_types::ParseError>(())
/// ```
pub struct LowestLatency {
    source: Box<dyn LatencySource>,
    equal_within: Duration,
    among_equals: EvenlyWeighted,
}

impl LowestLatency {
    /// Chooses by the latencies of this source.
    pub fn by(source: impl LatencySource + 'static) -> Self {
        Self {
            source: Box::new(source),
            equal_within: Duration::ZERO,
            among_equals: EvenlyWeighted::new(),
        }
    }

    /// Treats hubs as equal to the fastest one if they are slower by at most this difference. The default is zero.
    #[must_use]
    pub fn equal_within(mut self, difference: Duration) -> Self {
        self.equal_within = difference;
        self
    }

    /// Sets the policy that chooses among equal hubs, with the weights of the hubs.
    #[must_use]
    pub fn among_equals(mut self, policy: EvenlyWeighted) -> Self {
        self.among_equals = policy;
        self
    }

    async fn fastest(&self, request: &AllocationRequest) -> Result<Vec<HubHostname>, Rejection> {
        let hubs = &request.linked_hubs;
        let latencies =
            try_join_all(hubs.iter().map(|hub| self.source.latency(request, hub))).await?;
        let Some(lowest) = latencies.iter().flatten().min() else {
            return Ok(hubs.clone());
        };
        let limit = lowest.saturating_add(self.equal_within);
        let fast = hubs.iter().zip(&latencies);
        Ok(fast
            .filter(|(_, latency)| latency.is_some_and(|latency| latency <= limit))
            .map(|(hub, _)| hub.clone())
            .collect())
    }
}

#[async_trait]
impl AllocationPolicy for LowestLatency {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let fastest = self.fastest(request).await?;
        let chosen = self
            .among_equals
            .choose(request.registration_id(), &fastest);
        let allocation = chosen.map(|hub| Allocation::to(hub.clone()));
        allocation.ok_or_else(|| {
            Rejection::new("no hub is linked").with_error_code(ErrorCode::HUB_NOT_SPECIFIED)
        })
    }
}

impl fmt::Debug for LowestLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LowestLatency")
            .field("equal_within", &self.equal_within)
            .field("among_equals", &self.among_equals)
            .finish_non_exhaustive()
    }
}
