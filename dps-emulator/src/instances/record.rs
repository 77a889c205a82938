//! An instance as the store has it: its names, its policies with their keys, and its linked hubs.

use std::collections::BTreeMap;

use dps_types::enrollment::AllocationPolicyKind;
use dps_types::{ETag, HubHostname, IdScope, ServiceConnectionString, SymmetricKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use super::InstanceName;
use crate::access::{AccessPolicy, Permission, Policy};
use crate::allocate;
use crate::hub;
use crate::service_error::ServiceError;

/// The stored form of an instance. `Debug` shows no keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) name: InstanceName,
    pub(crate) id_scope: IdScope,
    /// The place in Azure Resource Manager, and what an operator keeps there.
    pub(crate) resource: Resource,
    pub(crate) policies: Vec<PolicyRecord>,
    pub(crate) hubs: Vec<HubRecord>,
    pub(crate) allocation_policy: AllocationPolicyKind,
    pub(crate) local_auth_disabled: bool,
    pub(crate) etag: ETag,
    /// Whether the deletion of the instance has begun. No request finds it any more.
    #[serde(default)]
    pub(crate) is_deleted: bool,
}

/// The members of the resource that have no effect in the emulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resource {
    pub(crate) subscription: String,
    pub(crate) resource_group: String,
    pub(crate) location: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) sku: Value,
    /// Properties that the emulator does not know.
    pub(crate) properties: Map<String, Value>,
}

impl Default for Resource {
    /// The place of the instances that are not created through Azure Resource Manager.
    fn default() -> Self {
        Self {
            subscription: "00000000-0000-0000-0000-000000000000".to_owned(),
            resource_group: "dps-emulator".to_owned(),
            location: "local".to_owned(),
            tags: BTreeMap::new(),
            sku: serde_json::json!({ "name": "S1", "capacity": 1 }),
            properties: Map::new(),
        }
    }
}

/// A shared access policy of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyRecord {
    pub(crate) name: String,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) primary: StoredKey,
    pub(crate) secondary: StoredKey,
}

/// A linked hub of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HubRecord {
    pub(crate) hostname: HubHostname,
    /// The policy of the hub's back ends, and its key.
    pub(crate) policy: String,
    pub(crate) key: StoredKey,
    pub(crate) weight: u32,
    pub(crate) applies_policy: bool,
    pub(crate) location: Option<String>,
}

/// A key, in base64.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredKey(pub(crate) SymmetricKey);

impl Record {
    /// The policies as access control has them.
    pub(crate) fn policies(&self) -> Vec<Policy> {
        let policies = self.policies.iter().map(|policy| Policy {
            name: policy.name.clone(),
            permissions: policy.permissions.clone(),
            keys: [policy.primary.0.clone(), policy.secondary.0.clone()],
        });
        policies.collect()
    }

    /// The hubs as the allocation has them.
    pub(crate) fn allocated_hubs(&self) -> Vec<allocate::LinkedHub> {
        let hubs = self.hubs.iter().map(|hub| allocate::LinkedHub {
            hostname: hub.hostname.clone(),
            weight: hub.weight,
            applies_policy: hub.applies_policy,
        });
        hubs.collect()
    }

    /// The hubs with the credentials of their back ends, at this host.
    pub(crate) fn linked_hubs(&self, host: &str) -> Result<Vec<hub::LinkedHub>, ServiceError> {
        let hubs = self.hubs.iter().map(|hub| {
            let key = hub.key.0.clone();
            Ok(hub::LinkedHub {
                hostname: hub.hostname.clone(),
                connection: ServiceConnectionString::new(host, &*hub.policy, key)?,
            })
        });
        hubs.collect()
    }
}

impl PolicyRecord {
    /// A policy of the configuration, with new keys where it has none.
    pub(crate) fn configured(policy: &AccessPolicy) -> Self {
        let [primary, secondary] = policy.keys().map(|key| match key {
            Some(key) => StoredKey(key.clone()),
            None => StoredKey::generate(),
        });
        Self {
            name: policy.name().to_owned(),
            permissions: policy.permissions().to_vec(),
            primary,
            secondary,
        }
    }

    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// A policy with new keys.
    pub(crate) fn new(name: impl Into<String>, permissions: Vec<Permission>) -> Self {
        Self {
            name: name.into(),
            permissions,
            primary: StoredKey::generate(),
            secondary: StoredKey::generate(),
        }
    }
}

impl StoredKey {
    pub(crate) fn generate() -> Self {
        Self(SymmetricKey::generate())
    }
}

impl Serialize for StoredKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_base64())
    }
}

impl<'de> Deserialize<'de> for StoredKey {
    /// The error does not show the key.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(deserializer)?);
        let key = SymmetricKey::from_base64(&text);
        key.map(Self).map_err(de::Error::custom)
    }
}
