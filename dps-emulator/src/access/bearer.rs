//! Entra tokens. Azure's cannot be verified here: those count that were configured, as they are, each with a role.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::Act;
use crate::error::{Error, ErrorKind};

/// A role for the data plane, as Azure defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntraRole {
    /// Device Provisioning Service Data Contributor: everything. In this emulator also the CA certificates, which in Azure
    /// are not the data plane's.
    DataContributor,
    /// Device Provisioning Service Data Reader: reads everything but keys.
    DataReader,
}

impl EntraRole {
    pub(crate) fn may(self, act: Act) -> bool {
        match self {
            Self::DataContributor => true,
            Self::DataReader => matches!(act, Act::ReadEnrollments | Act::ReadRegistrations),
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
                format!("'{text}' is no role; there are contributor and reader"),
            )),
        }
    }
}

/// A token that lets its bearer in. Only its hash is held.
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

    /// Whether it is this token. How long the comparison of two hashes takes tells nothing about the token.
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
