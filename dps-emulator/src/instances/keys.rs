//! The keys of the table of instances: those of the records, and those that lead to a record.

use std::fmt;

use data_encoding::HEXLOWER;
use dps_types::{HubHostname, IdScope};
use sha2::{Digest, Sha256};

use super::{InstanceName, Record, StoredKey};

/// A key in the table of instances. All but the first hold the id scope of an instance, and belong to one instance.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key<'a> {
    /// The record of the instance with this id scope.
    IdScope(&'a IdScope),
    Name(&'a InstanceName),
    /// A linked hub. A device at a hub presents only the hub's name.
    Hub(&'a HubHostname),
    /// The name and a key of a shared access policy. A service client may present nothing else.
    Policy(&'a str, &'a StoredKey),
}

impl Key<'_> {
    /// The beginning of the keys of records.
    pub(crate) const SCOPES: &'static str = "id-scope/";
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdScope(id_scope) => write!(f, "{}{}", Self::SCOPES, id_scope.to_lowercase()),
            Self::Name(name) => write!(f, "name/{name}"),
            Self::Hub(hub) => write!(f, "hub/{}", hub.to_lowercase()),
            Self::Policy(name, StoredKey(key)) => {
                let digest = Sha256::new()
                    .chain_update(name.to_ascii_lowercase())
                    .chain_update([0])
                    .chain_update(key.as_bytes())
                    .finalize();
                write!(f, "policy/{}", HEXLOWER.encode(&digest))
            }
        }
    }
}

impl Record {
    /// The keys that lead to the instance, apart from its name.
    pub(super) fn leading_keys(&self) -> impl Iterator<Item = Key<'_>> {
        let hubs = self.hubs.iter().map(|hub| Key::Hub(&hub.hostname));
        let policies = self.policies.iter().flat_map(|policy| {
            [&policy.primary, &policy.secondary].map(|key| Key::Policy(&policy.name, key))
        });
        hubs.chain(policies)
    }
}

/// The keys of an instance, as text.
pub(super) struct Keys {
    pub(super) record: String,
    pub(super) name: String,
    /// Each once.
    pub(super) leading: Vec<String>,
}

impl Keys {
    pub(super) fn of(record: &Record) -> Self {
        let mut leading: Vec<String> = record.leading_keys().map(|key| key.to_string()).collect();
        leading.sort();
        leading.dedup();
        Self {
            record: Key::IdScope(&record.id_scope).to_string(),
            name: Key::Name(&record.name).to_string(),
            leading,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        [&self.record, &self.name]
            .into_iter()
            .chain(&self.leading)
            .map(String::as_str)
    }
}
