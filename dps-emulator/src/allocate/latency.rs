//! The latency between a hub and the devices of a region.

use std::str::FromStr;
use std::time::Duration;

use dps_allocation::policies::LatencyTable;
use dps_types::HubHostname;

use crate::error::{Error, ErrorKind};

/// The latency between a linked hub and the devices of a region, for lowest-latency allocation.
///
/// A device is in the region that the field `region` of its registration payload names.
///
/// As text it is `[REGION/]HUB=MILLISECONDS`:
///
/// ```
/// use dps_emulator::Latency;
///
/// let latency: Latency = "europe/contoso-west=30".parse()?;
/// # Ok::<_, dps_emulator::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    pub(crate) region: String,
    pub(crate) hub: HubHostname,
    pub(crate) latency: Duration,
}

impl Latency {
    /// The field of the registration payload that names the region.
    const FIELD: &str = "region";

    /// The latency between `hub` and the devices of `region`. An empty region applies to the devices of all regions that have
    /// no latency of their own.
    pub fn new(region: impl Into<String>, hub: HubHostname, latency: Duration) -> Self {
        Self {
            region: region.into(),
            hub,
            latency,
        }
    }

    pub(crate) fn table(lines: Vec<Self>) -> LatencyTable {
        let empty = LatencyTable::by_payload(Self::FIELD);
        lines.into_iter().fold(empty, |table, line| {
            table.with(line.region, line.hub, line.latency)
        })
    }
}

impl FromStr for Latency {
    type Err = Error;

    /// Reads `[REGION/]HUB=MILLISECONDS`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            let reason =
                format!("'{text}' is not a valid latency: it must be [REGION/]HUB=MILLISECONDS");
            Error::new(ErrorKind::Configuration, reason)
        };
        let (hub, latency) = text.rsplit_once('=').ok_or_else(invalid)?;
        let (region, hub) = hub
            .rsplit_once('/')
            .unwrap_or((LatencyTable::ELSEWHERE, hub));
        let hub = HubHostname::new(hub).map_err(|error| invalid().with_source(error))?;
        let latency = latency.parse().map_err(|_| invalid())?;
        Ok(Self::new(region, hub, Duration::from_millis(latency)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_name_a_region() {
        let line = "emea/north/hub-a=12".parse::<Latency>().expect("valid");
        assert_eq!(
            (line.region.as_str(), line.hub.as_str(), line.latency),
            ("emea/north", "hub-a", Duration::from_millis(12))
        );
        assert_eq!("hub-a=0".parse::<Latency>().expect("valid").region, "");
        for bad in [
            "",
            "hub-a",
            "hub-a=",
            "hub-a=fast",
            "hub-a=-1",
            "=1",
            "emea/=1",
        ] {
            assert!(bad.parse::<Latency>().is_err(), "{bad}");
        }
    }
}
