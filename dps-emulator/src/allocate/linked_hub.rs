//! An IoT hub that is linked to the instance.

use dps_types::HubHostname;

/// An IoT hub that is linked to the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkedHub {
    pub(crate) hostname: HubHostname,
    /// How large its share of devices is under evenly weighted allocation: 1 to 1000.
    pub(crate) weight: u32,
}

impl LinkedHub {
    /// Reads `HOSTNAME` or `HOSTNAME=WEIGHT`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (hostname, weight) = text.split_once('=').unwrap_or((text, "1"));
        let hostname = HubHostname::new(hostname).map_err(|error| error.to_string())?;
        match weight.parse() {
            Ok(weight @ 1..=1000) => Ok(Self { hostname, weight }),
            _ => Err(format!(
                "invalid weight of hub {hostname}: it must be 1 to 1000"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_may_carry_a_weight() {
        let hub = LinkedHub::parse("contoso.azure-devices.net=10").expect("valid");
        assert_eq!(
            (hub.hostname.as_str(), hub.weight),
            ("contoso.azure-devices.net", 10)
        );
        assert_eq!(LinkedHub::parse("toasters").expect("valid").weight, 1);
        for bad in [
            "", "a b", "hub=", "hub=0", "hub=1001", "hub=-1", "hub=ten", "=1",
        ] {
            assert!(LinkedHub::parse(bad).is_err(), "{bad}");
        }
    }
}
