//! The permissions of a shared access policy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorKind};

/// A permission of a shared access policy.
///
/// As in Azure, some include others: writing enrollments includes everything about enrollments and registrations; reading
/// enrollments and deleting registrations include reading registrations. Source: Terraform's documentation of
/// `azurerm_iothub_dps_shared_access_policy`; azure-rest-api-specs issues 9285 and 10356.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Permission {
    /// Change the instance: in this emulator, its CA certificates and its properties; with a policy of the first instance, all
    /// instances.
    ServiceConfig,
    /// Read enrollments and enrollment groups, without their keys.
    EnrollmentRead,
    /// Create, change and delete enrollments and enrollment groups, and read their keys.
    EnrollmentWrite,
    /// Read registrations.
    RegistrationStatusRead,
    /// Delete registrations.
    RegistrationStatusWrite,
    /// Connect as a device. No action of the service API requires it.
    DeviceConnect,
}

impl Permission {
    const ALL: [Self; 6] = [
        Self::ServiceConfig,
        Self::EnrollmentRead,
        Self::EnrollmentWrite,
        Self::RegistrationStatusRead,
        Self::RegistrationStatusWrite,
        Self::DeviceConnect,
    ];

    /// The name, as in Azure Resource Manager: `EnrollmentRead`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServiceConfig => "ServiceConfig",
            Self::EnrollmentRead => "EnrollmentRead",
            Self::EnrollmentWrite => "EnrollmentWrite",
            Self::RegistrationStatusRead => "RegistrationStatusRead",
            Self::RegistrationStatusWrite => "RegistrationStatusWrite",
            Self::DeviceConnect => "DeviceConnect",
        }
    }

    /// Returns true if this permission includes the other one.
    pub fn includes(self, other: Self) -> bool {
        self == other
            || match self {
                Self::EnrollmentWrite => matches!(
                    other,
                    Self::EnrollmentRead
                        | Self::RegistrationStatusRead
                        | Self::RegistrationStatusWrite
                ),
                Self::EnrollmentRead | Self::RegistrationStatusWrite => {
                    other == Self::RegistrationStatusRead
                }
                _ => false,
            }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl FromStr for Permission {
    type Err = Error;

    /// Reads a name, in any case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let found = Self::ALL
            .into_iter()
            .find(|permission| permission.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            let reason = format!("'{text}' is not a valid permission: use one of {names}");
            Error::new(ErrorKind::Configuration, reason)
        })
    }
}
