//! Bearer tokens in place of Entra's, each with a role. The emulator cannot verify Azure's own tokens.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::ServiceAction;
use crate::error::{Error, ErrorKind};

/// A role for the data plane, as Azure defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntraRole {
    /// Device Provisioning Service Data Contributor: every action. In this emulator also in the control plane: on
    /// instances and their CA certificates.
    DataContributor,
    /// Device Provisioning Service Data Reader: reads everything except keys.
    DataReader,
}

impl EntraRole {
    /// The name of the role in Azure.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DataContributor => "Device Provisioning Service Data Contributor",
            Self::DataReader => "Device Provisioning Service Data Reader",
        }
    }

    pub(crate) fn allows(self, action: ServiceAction) -> bool {
        match self {
            Self::DataContributor => true,
            Self::DataReader => matches!(
                action,
                ServiceAction::ReadEnrollments | ServiceAction::ReadRegistrations
            ),
        }
    }
}

impl FromStr for EntraRole {
    type Err = Error;

    /// Reads `contributor` or `reader`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "contributor" => Ok(Self::DataContributor),
            "reader" => Ok(Self::DataReader),
            _ => Err(Error::new(
                ErrorKind::Configuration,
                format!("'{text}' is not a valid role: use contributor or reader"),
            )),
        }
    }
}

/// A bearer token that the emulator accepts. Only its hash is kept.
#[derive(Clone)]
pub(crate) struct BearerToken {
    hash: [u8; 32],
    role: EntraRole,
}

impl BearerToken {
    pub(crate) fn new(token: &str, role: EntraRole) -> Self {
        Self {
            hash: Sha256::digest(token).into(),
            role,
        }
    }

    /// Returns true for this token. The time to compare two hashes reveals nothing about the token.
    pub(super) fn is(&self, token: &str) -> bool {
        self.hash == <[u8; 32]>::from(Sha256::digest(token))
    }

    pub(super) fn role(&self) -> EntraRole {
        self.role
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
