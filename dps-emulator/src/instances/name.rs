//! The name of an instance, which is unique in the emulator as it is in Azure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorKind};

/// The domain of the host names of instances.
const DOMAIN: &str = ".azure-devices-provisioning.net";

/// The name of an instance: 3 to 64 letters, digits and hyphens, with a letter or digit at both ends. Its case does not matter.
///
/// Source: azure-docs, naming rules of Azure resources, `Microsoft.Devices/ProvisioningServices`.
///
/// ```
/// use dps_emulator::InstanceName;
///
/// let name: InstanceName = "suite-1".parse()?;
/// assert_eq!(name.host_name(), "suite-1.azure-devices-provisioning.net");
/// assert!("suite_1".parse::<InstanceName>().is_err());
/// # Ok::<_, dps_emulator::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceName(String);

impl InstanceName {
    /// The name of the instance that the emulator starts with.
    pub(crate) fn first() -> Self {
        Self("dps-emulator".to_owned())
    }

    /// The name as text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The instance's host name for service clients: `{name}.azure-devices-provisioning.net`.
    pub fn host_name(&self) -> String {
        format!("{}{DOMAIN}", self.0)
    }

    /// The instance of a host name, with or without a port. `None` if it is not one of an instance.
    pub(crate) fn of_host(host: &str) -> Option<Self> {
        let host = host.split(':').next()?.to_ascii_lowercase();
        host.strip_suffix(DOMAIN)?.parse().ok()
    }
}

impl FromStr for InstanceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let ends = |b: Option<char>| b.is_some_and(|c| c.is_ascii_alphanumeric());
        let is_valid = (3..=64).contains(&text.len())
            && text.bytes().all(fits)
            && ends(text.chars().next())
            && ends(text.chars().next_back());
        match is_valid {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(Error::new(
                ErrorKind::InvalidName,
                format!(
                    "'{text}' is not a valid name of an instance: it must be 3 to 64 letters, digits and hyphens, with a letter or digit at both ends"
                ),
            )),
        }
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for InstanceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InstanceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_azure() {
        let longest = "a".repeat(64);
        for valid in ["abc", "Suite-1", "0-0", &*longest] {
            let name: InstanceName = valid.parse().expect(valid);
            assert_eq!(name.as_str(), valid.to_ascii_lowercase());
        }
        let too_long = "a".repeat(65);
        for invalid in [
            "", "ab", "-ab", "ab-", "a_b", "a.b", "ä-b", "a/b", &*too_long,
        ] {
            let error = invalid.parse::<InstanceName>().expect_err(invalid);
            assert_eq!(error.kind(), ErrorKind::InvalidName);
        }
    }

    #[test]
    fn a_host_name_names_an_instance() {
        let of = |host| InstanceName::of_host(host).map(|name| name.to_string());
        let suite = Some("suite-1".to_owned());
        assert_eq!(of("Suite-1.azure-devices-provisioning.net"), suite);
        assert_eq!(of("suite-1.azure-devices-provisioning.net:8443"), suite);
        for other in [
            "localhost",
            "a.b.azure-devices-provisioning.net",
            "azure-devices-provisioning.net",
            "[::1]:443",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
