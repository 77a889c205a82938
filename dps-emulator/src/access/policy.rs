//! Shared access policies: a name, permissions, and two keys that sign tokens.

use std::str::FromStr;

use dps_types::SymmetricKey;
use dps_types::sas::SasToken;

use super::keys::{OWNER, Slot, stored_key};
use super::{Permission, ServiceAction};
use crate::error::{Error, ErrorKind};
use crate::state::store::Store;

/// The permissions of the policy that every instance has at first, as in Azure.
pub(crate) const OWNER_PERMISSIONS: [Permission; 3] = [
    Permission::ServiceConfig,
    Permission::DeviceConnect,
    Permission::EnrollmentWrite,
];

/// The configuration of a shared access policy. Without keys, the emulator makes random ones and keeps them in the data directory.
///
/// ```
/// use dps_emulator::{AccessPolicy, Permission};
///
/// let reader = AccessPolicy::new("reader", [Permission::EnrollmentRead]);
/// let same: AccessPolicy = "reader=EnrollmentRead".parse()?;
/// # Ok::<_, dps_emulator::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AccessPolicy {
    name: String,
    permissions: Vec<Permission>,
    primary: Option<SymmetricKey>,
    secondary: Option<SymmetricKey>,
}

impl AccessPolicy {
    /// Makes a policy with this name and these permissions. Tokens may write the name in any case.
    pub fn new(name: impl Into<String>, permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self {
            name: name.into(),
            permissions: permissions.into_iter().collect(),
            primary: None,
            secondary: None,
        }
    }

    /// The policy that every instance has, with the permissions that it has in Azure.
    pub(crate) fn owner(key: Option<SymmetricKey>) -> Self {
        Self {
            primary: key,
            ..Self::new(OWNER, OWNER_PERMISSIONS)
        }
    }

    /// Sets the primary key, the one in the policy's connection string.
    #[must_use]
    pub fn primary_key(mut self, key: SymmetricKey) -> Self {
        self.primary = Some(key);
        self
    }

    /// Sets the secondary key, which is equivalent to the primary one.
    #[must_use]
    pub fn secondary_key(mut self, key: SymmetricKey) -> Self {
        self.secondary = Some(key);
        self
    }

    /// The policy's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn permissions(&self) -> &[Permission] {
        &self.permissions
    }

    /// The keys that are configured: the primary and the secondary one.
    pub(crate) fn keys(&self) -> [Option<&SymmetricKey>; 2] {
        [self.primary.as_ref(), self.secondary.as_ref()]
    }

    /// Completes the missing keys, with those of an earlier run or new ones.
    pub(crate) async fn open(self, store: &dyn Store) -> Result<Policy, Error> {
        let primary = match self.primary {
            Some(key) => key,
            None => stored_key(store, &self.name, Slot::Primary).await?,
        };
        let secondary = match self.secondary {
            Some(key) => key,
            None => stored_key(store, &self.name, Slot::Secondary).await?,
        };
        Ok(Policy {
            name: self.name,
            permissions: self.permissions,
            keys: [primary, secondary],
        })
    }
}

impl FromStr for AccessPolicy {
    type Err = Error;

    /// Reads `NAME=PERMISSION[,PERMISSION…][:KEY]` with the primary key in base64. An error does not repeat the key.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::new(ErrorKind::Configuration, reason);
        let (name, rest) = text
            .split_once('=')
            .ok_or_else(|| wrong("a policy has the form NAME=PERMISSION[,PERMISSION…][:KEY]"))?;
        let (permissions, key) = match rest.split_once(':') {
            Some((permissions, key)) => (permissions, Some(key)),
            None => (rest, None),
        };
        let permissions: Result<Vec<Permission>, Error> =
            permissions.split(',').map(str::parse).collect();
        let policy = Self::new(name, permissions?);
        match key {
            Some(key) => {
                let key = SymmetricKey::from_base64(key).map_err(|error| {
                    wrong(&format!("the key of policy {name} is not valid base64"))
                        .with_source(error)
                })?;
                Ok(policy.primary_key(key))
            }
            None => Ok(policy),
        }
    }
}

/// A shared access policy of a running instance.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) permissions: Vec<Permission>,
    /// The primary key first.
    pub(crate) keys: [SymmetricKey; 2],
}

impl Policy {
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether the policy's name is in the token and one of its keys signed it.
    pub(crate) fn signed(&self, token: &SasToken) -> bool {
        token.policy().is_some_and(|name| self.is_named(name))
            && self.keys.iter().any(|key| token.verify(key))
    }

    pub(super) fn allows(&self, action: ServiceAction) -> bool {
        let required = action.permission();
        self.permissions
            .iter()
            .any(|permission| permission.includes(required))
    }

    pub(super) fn permission_names(&self) -> String {
        let names: Vec<&str> = self.permissions.iter().map(|it| it.name()).collect();
        names.join(", ")
    }
}
