//! Shared access policies: a name, what it permits, and the two keys that sign for it.

use std::str::FromStr;

use dps_types::SymmetricKey;

use super::keys::{Slot, kept_key};
use super::{Act, Permission};
use crate::error::{Error, ErrorKind};
use crate::state::store::Store;

/// The policy that every instance has.
pub(crate) const OWNER: &str = "provisioningserviceowner";

/// A shared access policy, to be configured. Its keys are random ones, which the data directory keeps, unless set here.
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
    /// A policy of this name, which permits this. Tokens may name it in any case.
    pub fn new(name: impl Into<String>, permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self {
            name: name.into(),
            permissions: permissions.into_iter().collect(),
            primary: None,
            secondary: None,
        }
    }

    /// The policy that every instance has, with the permissions that Azure gives it.
    pub(crate) fn owner(key: Option<SymmetricKey>) -> Self {
        let permissions = [
            Permission::ServiceConfig,
            Permission::DeviceConnect,
            Permission::EnrollmentWrite,
        ];
        Self {
            primary: key,
            ..Self::new(OWNER, permissions)
        }
    }

    /// Sets the primary key, the one in the policy's connection string.
    #[must_use]
    pub fn primary_key(mut self, key: SymmetricKey) -> Self {
        self.primary = Some(key);
        self
    }

    /// Sets the secondary key. It is as good as the primary one.
    #[must_use]
    pub fn secondary_key(mut self, key: SymmetricKey) -> Self {
        self.secondary = Some(key);
        self
    }

    /// The policy's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives it the keys that it lacks: those of an earlier run, or new ones.
    pub(crate) async fn open(self, store: &dyn Store) -> Result<Policy, Error> {
        let primary = match self.primary {
            Some(key) => key,
            None => kept_key(store, &self.name, Slot::Primary).await?,
        };
        let secondary = match self.secondary {
            Some(key) => key,
            None => kept_key(store, &self.name, Slot::Secondary).await?,
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

    /// Reads `NAME=PERMISSION[,PERMISSION…][:KEY]`, the key being the primary one, in base64. An error does not repeat it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::new(ErrorKind::Configuration, reason);
        let (name, rest) = text
            .split_once('=')
            .ok_or_else(|| wrong("a policy is NAME=PERMISSION[,PERMISSION…][:KEY]"))?;
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
                    wrong(&format!("the key of policy {name} is not one")).because(error)
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
    /// The primary one first.
    pub(crate) keys: [SymmetricKey; 2],
}

impl Policy {
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    pub(crate) fn may(&self, act: Act) -> bool {
        let needed = act.permission();
        self.permissions
            .iter()
            .any(|permission| permission.includes(needed))
    }
}
