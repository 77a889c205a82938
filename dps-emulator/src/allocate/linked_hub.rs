//! An IoT hub that is linked to the instance.

use dps_types::HubHostname;

/// An IoT hub that is linked to the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkedHub {
    pub(crate) hostname: HubHostname,
    /// How large its share of devices is under evenly weighted allocation: 1 to 1000.
    pub(crate) weight: u32,
    /// Whether evenly weighted and lowest latency may choose it; static and custom always may.
    pub(crate) applies_policy: bool,
}

impl LinkedHub {
    /// Reads `HOSTNAME[=WEIGHT][,no-policy]`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (text, applies_policy) = match text.split_once(',') {
            None => (text, true),
            Some((text, "no-policy")) => (text, false),
            Some((text, other)) => {
                return Err(format!(
                    "invalid hub {text}: '{other}' is not known; there is no-policy"
                ));
            }
        };
        let (hostname, weight) = text.split_once('=').unwrap_or((text, "1"));
        let hostname = HubHostname::new(hostname).map_err(|error| error.to_string())?;
        match weight.parse() {
            Ok(weight @ 1..=1000) => Ok(Self {
                hostname,
                weight,
                applies_policy,
            }),
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
    fn a_hub_may_carry_a_weight_and_be_left_out() {
        for (text, hostname, weight, applies_policy) in [
            ("toasters", "toasters", 1, true),
            (
                "contoso.azure-devices.net=10",
                "contoso.azure-devices.net",
                10,
                true,
            ),
            ("toasters,no-policy", "toasters", 1, false),
            ("toasters=1000,no-policy", "toasters", 1000, false),
        ] {
            let hub = LinkedHub::parse(text).expect("valid");
            let read = (hub.hostname.as_str(), hub.weight, hub.applies_policy);
            assert_eq!(read, (hostname, weight, applies_policy));
        }
        for bad in [
            "",
            "a b",
            "hub=",
            "hub=0",
            "hub=1001",
            "hub=-1",
            "hub=ten",
            "=1",
            "hub,",
            "hub,policy",
            "hub,no-policy=3",
            ",no-policy",
        ] {
            assert!(LinkedHub::parse(bad).is_err(), "{bad}");
        }
    }
}
