//! The rules for a device that registers again.
//!
//! Source: azure-docs `iot-dps/concepts-device-reprovision.md`.

use dps_types::enrollment::ReprovisionPolicy;
use dps_types::protocol::ApiVersion;
use dps_types::{HubHostname, RegistrationSubstatus};

use crate::hub::TwinTransfer;

/// The reprovisioning policy of an enrollment, for devices that register again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reprovision {
    /// Allocate again; the twin moves to the new hub.
    Migrate,
    /// Allocate again; the device receives its initial twin.
    Reset,
    /// Keep the hub.
    Never,
}

impl Reprovision {
    /// Without a policy the service migrates, except for clients whose api-version has no such policy.
    pub(super) fn of(policy: Option<&ReprovisionPolicy>, api_version: ApiVersion) -> Self {
        match policy {
            Some(policy) if !policy.update_hub_assignment => Self::Never,
            Some(policy) if policy.migrate_device_data => Self::Migrate,
            Some(_) => Self::Reset,
            None if api_version <= ApiVersion::V2018_04_01 => Self::Never,
            None => Self::Migrate,
        }
    }

    /// The treatment of the twin of a device that moves to another hub.
    pub(super) fn twin_transfer(self) -> TwinTransfer {
        match self {
            Self::Reset => TwinTransfer::Reset,
            Self::Migrate | Self::Never => TwinTransfer::Migrate,
        }
    }

    /// The substatus of a device at `hub` that was at `previous` before.
    pub(super) fn substatus(
        self,
        previous: Option<&HubHostname>,
        hub: &HubHostname,
    ) -> RegistrationSubstatus {
        match previous {
            None => RegistrationSubstatus::InitialAssignment,
            Some(previous) if previous == hub => {
                RegistrationSubstatus::ReprovisionedToInitialAssignment
            }
            Some(_) if self == Self::Reset => RegistrationSubstatus::DeviceDataReset,
            Some(_) => RegistrationSubstatus::DeviceDataMigrated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_matrix() {
        use RegistrationSubstatus as Is;
        let new: ApiVersion = "2021-06-01".parse().expect("valid");
        let old: ApiVersion = "2018-04-01".parse().expect("valid");
        let (migrate, reset, never) = (
            ReprovisionPolicy::migrate(),
            ReprovisionPolicy::reset(),
            ReprovisionPolicy::never(),
        );
        for (policy, version, wanted) in [
            (Some(&migrate), new, Reprovision::Migrate),
            (Some(&reset), new, Reprovision::Reset),
            (Some(&never), new, Reprovision::Never),
            (Some(&migrate), old, Reprovision::Migrate),
            (None, new, Reprovision::Migrate),
            (None, old, Reprovision::Never),
        ] {
            assert_eq!(
                Reprovision::of(policy, version),
                wanted,
                "{policy:?} {version}"
            );
        }
        let hub = |name: &str| HubHostname::new(name).expect("valid");
        let (a, b) = (hub("a"), hub("b"));
        for (way, previous, wanted) in [
            (Reprovision::Migrate, None, Is::InitialAssignment),
            (
                Reprovision::Reset,
                Some(&a),
                Is::ReprovisionedToInitialAssignment,
            ),
            (
                Reprovision::Never,
                Some(&a),
                Is::ReprovisionedToInitialAssignment,
            ),
            (Reprovision::Migrate, Some(&b), Is::DeviceDataMigrated),
            (Reprovision::Reset, Some(&b), Is::DeviceDataReset),
        ] {
            assert_eq!(way.substatus(previous, &a), wanted, "{way:?} {previous:?}");
        }
    }
}
