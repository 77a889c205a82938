//! The allocation policy of enrollments that have none.

use std::str::FromStr;

use dps_types::enrollment::AllocationPolicyKind;

use crate::error::{Error, ErrorKind};

/// The allocation policy of enrollments that have none. It cannot be custom, because a webhook belongs to an enrollment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DefaultAllocation {
    /// Evenly weighted: devices spread over the linked hubs by the hubs' weights.
    #[default]
    Hashed,
    /// Lowest latency, by the emulator's [latencies](crate::EmulatorBuilder::latency).
    GeoLatency,
    /// Static: the hub that the enrollment names. An enrollment without one fails with error 400208.
    Static,
}

impl DefaultAllocation {
    /// The names that [`from_str`](Self::from_str) accepts, as enrollments spell them.
    #[cfg(feature = "cli")]
    pub(crate) const NAMES: [&str; 3] = ["hashed", "geoLatency", "static"];
}

impl FromStr for DefaultAllocation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match AllocationPolicyKind::from(text) {
            AllocationPolicyKind::Hashed => Ok(Self::Hashed),
            AllocationPolicyKind::GeoLatency => Ok(Self::GeoLatency),
            AllocationPolicyKind::Static => Ok(Self::Static),
            _ => Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "'{text}' is not a valid default allocation policy: it must be hashed, geoLatency or static"
                ),
            )),
        }
    }
}

impl From<DefaultAllocation> for AllocationPolicyKind {
    fn from(policy: DefaultAllocation) -> Self {
        match policy {
            DefaultAllocation::Hashed => Self::Hashed,
            DefaultAllocation::GeoLatency => Self::GeoLatency,
            DefaultAllocation::Static => Self::Static,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_cannot_be_custom() {
        for name in ["hashed", "geoLatency", "static"] {
            let policy = name.parse::<DefaultAllocation>().expect(name);
            assert_eq!(AllocationPolicyKind::from(policy).as_str(), name);
        }
        for name in ["custom", "", "nearest"] {
            let error = name.parse::<DefaultAllocation>().expect_err(name);
            assert_eq!(
                error.to_string(),
                format!(
                    "'{name}' is not a valid default allocation policy: it must be hashed, geoLatency or static"
                )
            );
        }
    }
}
