//! How far a hub is from the devices of a region, as an operator says it.

use std::time::Duration;

use dps_allocation::policies::LatencyTable;
use dps_types::HubHostname;

/// A line of the latency table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Latency {
    /// Empty for devices of no other region.
    pub(crate) region: String,
    pub(crate) hub: HubHostname,
    pub(crate) latency: Duration,
}

impl Latency {
    /// Where devices say which region they are in: in this field of the payload that they register with.
    const FIELD: &str = "region";

    /// Reads `[REGION/]HUB=MILLISECONDS`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid latency '{text}': it must be [REGION/]HUB=MILLISECONDS");
        let (hub, latency) = text.rsplit_once('=').ok_or_else(wrong)?;
        let (region, hub) = hub
            .rsplit_once('/')
            .unwrap_or((LatencyTable::ELSEWHERE, hub));
        Ok(Self {
            region: region.to_owned(),
            hub: HubHostname::new(hub).map_err(|error| error.to_string())?,
            latency: Duration::from_millis(latency.parse().map_err(|_| wrong())?),
        })
    }

    pub(crate) fn table(lines: Vec<Self>) -> LatencyTable {
        let empty = LatencyTable::by_payload(Self::FIELD);
        lines.into_iter().fold(empty, |table, line| {
            table.with(line.region, line.hub, line.latency)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_name_a_region() {
        let line = Latency::parse("emea/north/hub-a=12").expect("valid");
        assert_eq!(
            (line.region.as_str(), line.hub.as_str(), line.latency),
            ("emea/north", "hub-a", Duration::from_millis(12))
        );
        assert_eq!(Latency::parse("hub-a=0").expect("valid").region, "");
        for bad in [
            "",
            "hub-a",
            "hub-a=",
            "hub-a=fast",
            "hub-a=-1",
            "=1",
            "emea/=1",
        ] {
            assert!(Latency::parse(bad).is_err(), "{bad}");
        }
    }
}
