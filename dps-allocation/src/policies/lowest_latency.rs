//! The hub that the device reaches fastest, as far as somebody knows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dps_types::{AllocationRequest, ErrorCode, HubHostname};
use futures_util::future::try_join_all;

use super::EvenlyWeighted;
use crate::{Allocation, AllocationPolicy, Rejection};

/// Who knows how far a hub is from a device.
#[async_trait]
pub trait LatencySource: Send + Sync {
    /// How long it takes between this device and this hub, `None` when that is not known. All linked hubs are asked for at
    /// once.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] ends the registration. A hub that cannot be measured is not an error, it is not known.
    async fn latency(
        &self,
        request: &AllocationRequest,
        hub: &HubHostname,
    ) -> Result<Option<Duration>, Rejection>;
}

#[async_trait]
impl<S: LatencySource + ?Sized> LatencySource for Arc<S> {
    async fn latency(
        &self,
        request: &AllocationRequest,
        hub: &HubHostname,
    ) -> Result<Option<Duration>, Rejection> {
        (**self).latency(request, hub).await
    }
}

/// The linked hub with the lowest latency. Among equals, [`EvenlyWeighted`] decides.
///
/// A hub whose latency is not known comes after all others; when none is known, all are equal. How DPS itself measures
/// for its policy *lowest latency* is not published; it compares, as Azure Traffic Manager does, by the device's network.
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
    /// By what this source knows.
    pub fn by(source: impl LatencySource + 'static) -> Self {
        Self {
            source: Box::new(source),
            equal_within: Duration::ZERO,
            among_equals: EvenlyWeighted::new(),
        }
    }

    /// Hubs that are this much slower than the fastest are as good as it. The default is zero.
    #[must_use]
    pub fn equal_within(mut self, difference: Duration) -> Self {
        self.equal_within = difference;
        self
    }

    /// Who decides among equals, with the weights of the hubs.
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
        chosen.map(Allocation::to).ok_or_else(|| {
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
