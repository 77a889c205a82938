//! An IoT hub that is linked to the instance.

use std::str::FromStr;

use dps_types::HubHostname;

use crate::error::{Error, ErrorKind};

/// An IoT hub that is linked to the instance.
///
/// As text it is `HOSTNAME[=WEIGHT][,no-policy]`:
///
/// ```
/// use dps_emulator::LinkedHub;
///
/// let hub: LinkedHub = "contoso-west=10,no-policy".parse()?;
/// assert_eq!(hub, LinkedHub::new(hub.hostname().clone()).weight(10).without_policy());
/// # Ok::<_, dps_emulator::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedHub {
    pub(crate) hostname: HubHostname,
    pub(crate) weight: u32,
    /// Whether evenly weighted and lowest latency may choose it; static and custom always may.
    pub(crate) applies_policy: bool,
}

impl LinkedHub {
    /// A hub with weight 1, which every allocation policy may choose.
    pub fn new(hostname: HubHostname) -> Self {
        Self {
            hostname,
            weight: 1,
            applies_policy: true,
        }
    }

    /// The share of devices that the hub receives under evenly weighted allocation, relative to the other hubs.
    ///
    /// # Panics
    /// If the weight is not 1 to 1000, which is what the service accepts.
    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        assert!(
            (1..=1000).contains(&weight),
            "the weight of a hub must be 1 to 1000, and is {weight}"
        );
        Self { weight, ..self }
    }

    /// Excludes the hub from evenly weighted and lowest-latency allocation. Static and custom allocation may still choose it.
    #[must_use]
    pub fn without_policy(self) -> Self {
        Self {
            applies_policy: false,
            ..self
        }
    }

    /// The name of the hub.
    pub fn hostname(&self) -> &HubHostname {
        &self.hostname
    }
}

impl From<HubHostname> for LinkedHub {
    fn from(hostname: HubHostname) -> Self {
        Self::new(hostname)
    }
}

impl FromStr for LinkedHub {
    type Err = Error;

    /// Reads `HOSTNAME[=WEIGHT][,no-policy]`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| {
            let reason = format!("'{text}' is not a valid hub: {reason}");
            Error::new(ErrorKind::Configuration, reason)
        };
        let (hub, applies_policy) = match text.split_once(',') {
            None => (text, true),
            Some((hub, "no-policy")) => (hub, false),
            Some(_) => return Err(invalid("the only option after the comma is no-policy")),
        };
        let (hostname, weight) = hub.split_once('=').unwrap_or((hub, "1"));
        let hostname = HubHostname::new(hostname).map_err(|error| invalid(&error.to_string()))?;
        let Ok(weight @ 1..=1000) = weight.parse() else {
            return Err(invalid("the weight must be 1 to 1000"));
        };
        Ok(Self {
            hostname,
            weight,
            applies_policy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_may_have_a_weight_and_be_excluded_from_policies() {
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
            let hub: LinkedHub = text.parse().expect("valid");
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
            assert!(bad.parse::<LinkedHub>().is_err(), "{bad}");
        }
    }
}
