//! A table of latencies, by region of the devices.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use dps_types::{AllocationRequest, HubHostname};

use super::by_payload::Field;
use super::lowest_latency::LatencySource;
use crate::Rejection;

/// A table of latencies, by region of the device and hub.
///
/// The region is a field of the payload that the device sends when it registers. A device without the field, or with a
/// region that is not in the table, is in the region [`ELSEWHERE`](Self::ELSEWHERE).
///
/// ```
/// # let (north, south): (dps_types::HubHostname, dps_types::HubHostname) =
/// #     ("north.azure-devices.net".parse()?, "south.azure-devices.net".parse()?);
/// use std::time::Duration;
///
/// use dps_allocation::policies::{LatencyTable, LowestLatency};
///
/// let table = LatencyTable::by_payload("region")
///     .with("europe", north, Duration::from_millis(20))
///     .with("africa", south, Duration::from_millis(45));
/// let policy = LowestLatency::by(table);
/// # drop(policy);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct LatencyTable {
    field: Option<Field>,
    regions: BTreeMap<String, BTreeMap<HubHostname, Duration>>,
}

impl LatencyTable {
    /// The region of devices whose region is not known.
    pub const ELSEWHERE: &str = "";

    /// Creates a table with one region for all devices, [`ELSEWHERE`](Self::ELSEWHERE).
    pub fn new() -> Self {
        Self {
            field: None,
            regions: BTreeMap::new(),
        }
    }

    /// Creates a table whose region is this field of the payload: a name at the top level, or a JSON pointer (RFC 6901) if it
    /// begins with `/`.
    pub fn by_payload(field: impl Into<String>) -> Self {
        Self {
            field: Some(Field::new(field)),
            regions: BTreeMap::new(),
        }
    }

    /// Sets the latency between devices of this region and this hub.
    #[must_use]
    pub fn with(mut self, region: impl Into<String>, hub: HubHostname, latency: Duration) -> Self {
        let region = self.regions.entry(region.into()).or_default();
        region.insert(hub, latency);
        self
    }

    fn region(&self, request: &AllocationRequest) -> Option<&BTreeMap<HubHostname, Duration>> {
        let name = self.field.as_ref().and_then(|field| field.of(request).ok());
        name.and_then(|name| self.regions.get(&name))
            .or_else(|| self.regions.get(Self::ELSEWHERE))
    }
}

impl Default for LatencyTable {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl LatencySource for LatencyTable {
    async fn latency(
        &self,
        request: &AllocationRequest,
        hub: &HubHostname,
    ) -> Result<Option<Duration>, Rejection> {
        let region = self.region(request);
        Ok(region.and_then(|hubs| hubs.get(hub)).copied())
    }
}
