//! The document of an instance as a resource: `ProvisioningServiceDescription` of the swagger.

use std::collections::BTreeMap;

use dps_types::enrollment::AllocationPolicyKind;
use dps_types::{HubHostname, ServiceConnectionString, SymmetricKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::path::resource_id;
use crate::access::{OWNER, OWNER_PERMISSIONS, Permission};
use crate::instances::{HubRecord, PolicyRecord, Record, StoredKey};
use crate::service_error::ServiceError;

/// The text in place of a key in an answer. In a request it keeps the key as it is.
const MASK: &str = "****";
/// The host name of devices in Azure.
const DEVICE_HOST: &str = "global.azure-devices-provisioning.net";
/// Properties that only the service sets.
const READ_ONLY: [&str; 5] = [
    "state",
    "provisioningState",
    "serviceOperationsHostName",
    "deviceProvisioningHostName",
    "idScope",
];

/// The body of a request that creates or replaces an instance. Unknown members have no effect.
#[derive(Deserialize)]
pub(super) struct Description {
    location: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    sku: Option<Value>,
    properties: Option<Properties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    iot_hubs: Option<Vec<HubDescription>>,
    allocation_policy: Option<String>,
    authorization_policies: Option<Vec<PolicyDescription>>,
    disable_local_auth: Option<bool>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HubDescription {
    connection_string: Option<String>,
    /// In place of a connection string, if the instance authenticates with an identity.
    host_name: Option<String>,
    location: Option<String>,
    apply_allocation_policy: Option<bool>,
    allocation_weight: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyDescription {
    key_name: String,
    primary_key: Option<String>,
    secondary_key: Option<String>,
    rights: String,
}

/// The body of a request that changes the tags.
#[derive(Deserialize)]
pub(super) struct Tags {
    tags: Option<BTreeMap<String, String>>,
}

impl Description {
    /// The stored form: `record` with the members of the description. Policies that the description leaves out stay, because their
    /// keys would be lost. Hubs that it leaves out are unlinked.
    pub(super) fn into_record(self, mut record: Record) -> Result<Record, ServiceError> {
        let required =
            |name: &str| ServiceError::invalid(format!("The member {name} is required."));
        let resource = &mut record.resource;
        resource.location = self.location.ok_or_else(|| required("location"))?;
        resource.sku = self.sku.ok_or_else(|| required("sku"))?;
        resource.tags = self.tags.unwrap_or_default();
        let properties = self.properties.ok_or_else(|| required("properties"))?;
        resource.properties = properties.other;
        resource
            .properties
            .retain(|name, value| !value.is_null() && !READ_ONLY.contains(&name.as_str()));
        for value in resource.properties.values().chain([&resource.sku]) {
            dps_types::json::check_depth(value)?;
        }
        record.local_auth_disabled = properties.disable_local_auth.unwrap_or(false);
        record.allocation_policy = allocation_policy(properties.allocation_policy.as_deref())?;
        let hubs = properties.iot_hubs.unwrap_or_default().into_iter();
        record.hubs = hubs
            .map(|hub| hub.into_record(&record.hubs))
            .collect::<Result<_, _>>()?;
        for (index, hub) in record.hubs.iter().enumerate() {
            let hostname = &hub.hostname;
            if record
                .hubs
                .iter()
                .take(index)
                .any(|it| it.hostname == *hostname)
            {
                let reason = format!("The IoT hub '{hostname}' is linked twice.");
                return Err(ServiceError::invalid(reason));
            }
        }
        if let Some(policies) = properties.authorization_policies {
            record.policies = policies
                .into_iter()
                .map(|policy| policy.into_record(&record.policies))
                .collect::<Result<_, _>>()?;
        } else if record.policies.is_empty() {
            let owner = PolicyRecord::new(OWNER, OWNER_PERMISSIONS.to_vec());
            record.policies.push(owner);
        }
        for (index, policy) in record.policies.iter().enumerate() {
            let name = &policy.name;
            if record
                .policies
                .iter()
                .take(index)
                .any(|it| it.is_named(name))
            {
                let reason = format!("Two policies have the name '{name}'.");
                return Err(ServiceError::invalid(reason));
            }
        }
        Ok(record)
    }
}

impl Tags {
    /// The stored form with other tags.
    pub(super) fn into_record(self, mut record: Record) -> Record {
        if let Some(tags) = self.tags {
            record.resource.tags = tags;
        }
        record
    }
}

fn allocation_policy(text: Option<&str>) -> Result<AllocationPolicyKind, ServiceError> {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("hashed") => Ok(AllocationPolicyKind::Hashed),
        Some("geolatency") => Ok(AllocationPolicyKind::GeoLatency),
        Some("static") => Ok(AllocationPolicyKind::Static),
        Some(other) => Err(ServiceError::invalid(format!(
            "'{other}' is not a valid allocationPolicy: it must be Hashed, GeoLatency or Static."
        ))),
    }
}

impl HubDescription {
    fn into_record(self, before: &[HubRecord]) -> Result<HubRecord, ServiceError> {
        let (hostname, policy, key) = match (&self.connection_string, &self.host_name) {
            (Some(text), _) => credentials(text, before)?,
            (None, Some(name)) => {
                let hostname = HubHostname::new(name.as_str())?;
                let known = before.iter().find(|hub| hub.hostname == hostname);
                let key = known.map_or_else(StoredKey::generate, |hub| hub.key.clone());
                (hostname, crate::hub::POLICY.to_owned(), key)
            }
            (None, None) => {
                return Err(ServiceError::invalid(
                    "An IoT hub has neither a connectionString nor a hostName.",
                ));
            }
        };
        let weight = self.allocation_weight.unwrap_or(1);
        if !(1..=1000).contains(&weight) {
            return Err(ServiceError::invalid(format!(
                "The allocationWeight of the IoT hub '{hostname}' must be 1 to 1000, and is {weight}."
            )));
        }
        Ok(HubRecord {
            hostname,
            policy,
            key,
            weight,
            applies_policy: self.apply_allocation_policy.unwrap_or(true),
            location: self.location,
        })
    }
}

/// The host name, policy and key of a hub's connection string. A masked key is the one that the hub has already. An error does not
/// repeat the key.
fn credentials(
    text: &str,
    before: &[HubRecord],
) -> Result<(HubHostname, String, StoredKey), ServiceError> {
    let fields = |name: &'static str| {
        let fields = text.split(';').filter_map(|field| field.split_once('='));
        fields
            .filter(move |(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    if fields("SharedAccessKey").eq([MASK]) {
        let mut names = fields("HostName");
        let hostname = HubHostname::new(names.next().unwrap_or_default())?;
        if names.next().is_some() {
            return Err(ServiceError::invalid(
                "A connectionString has more than one HostName.",
            ));
        }
        let known = before.iter().find(|hub| hub.hostname == hostname);
        return match known {
            Some(hub) => Ok((hostname, hub.policy.clone(), hub.key.clone())),
            None => Err(ServiceError::invalid(format!(
                "The key of the IoT hub '{hostname}' is masked, and the hub is not linked yet."
            ))),
        };
    }
    let connection: ServiceConnectionString = text.parse()?;
    let hostname = HubHostname::new(connection.host_name())?;
    let policy = connection.shared_access_key_name().to_owned();
    let key = connection.shared_access_key().clone();
    Ok((hostname, policy, StoredKey(key)))
}

impl PolicyDescription {
    fn into_record(self, before: &[PolicyRecord]) -> Result<PolicyRecord, ServiceError> {
        let known = before.iter().find(|it| it.is_named(&self.key_name));
        let permissions = self.rights.split(',').map(|text| {
            let permission = text.parse::<Permission>();
            permission.map_err(|error| {
                let text = error.to_string();
                ServiceError::invalid(crate::state::sentence(text))
            })
        });
        let name = &self.key_name;
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c == ';') {
            return Err(ServiceError::invalid(format!(
                "'{name}' is not a valid keyName: it must not be empty, and must have no white space and no ';'."
            )));
        }
        let key = |text: Option<String>, known: Option<&StoredKey>| match text.as_deref() {
            None | Some("" | MASK) => Ok(known.cloned().unwrap_or_else(StoredKey::generate)),
            Some(text) => match SymmetricKey::from_base64(text) {
                Ok(key) => Ok(StoredKey(key)),
                Err(error) => Err(ServiceError::invalid(format!(
                    "A key of the policy '{name}' is not valid: {}.",
                    error.reason()
                ))),
            },
        };
        Ok(PolicyRecord {
            permissions: permissions.collect::<Result<_, _>>()?,
            primary: key(self.primary_key, known.map(|it| &it.primary))?,
            secondary: key(self.secondary_key, known.map(|it| &it.secondary))?,
            name: self.key_name,
        })
    }
}

/// An instance as a resource. Keys are masked.
pub(super) fn resource(record: &Record) -> Value {
    let place = &record.resource;
    let hubs: Vec<Value> = record.hubs.iter().map(hub).collect();
    let policy = match record.allocation_policy {
        AllocationPolicyKind::GeoLatency => "GeoLatency",
        AllocationPolicyKind::Static => "Static",
        _ => "Hashed",
    };
    let policies: Vec<Value> = record
        .policies
        .iter()
        .map(|policy| json!({ "keyName": policy.name, "rights": rights(policy) }))
        .collect();
    let mut properties = place.properties.clone();
    let own = json!({
        "state": "Active",
        "provisioningState": "Succeeded",
        "iotHubs": hubs,
        "allocationPolicy": policy,
        "serviceOperationsHostName": record.name.host_name(),
        "deviceProvisioningHostName": DEVICE_HOST,
        "idScope": record.id_scope,
        "authorizationPolicies": policies,
        "disableLocalAuth": record.local_auth_disabled,
    });
    if let Value::Object(own) = own {
        properties.extend(own);
    }
    properties
        .entry("publicNetworkAccess")
        .or_insert_with(|| "Enabled".into());
    let mut sku = place.sku.clone();
    if let Value::Object(sku) = &mut sku {
        sku.insert("tier".to_owned(), "Standard".into());
    }
    json!({
        "etag": record.etag,
        "properties": properties,
        "sku": sku,
        "id": resource_id(&place.subscription, &place.resource_group, record.name.as_str()),
        "name": record.name,
        "type": "Microsoft.Devices/provisioningServices",
        "location": place.location,
        "resourcegroup": place.resource_group,
        "subscriptionid": place.subscription,
        "tags": place.tags,
    })
}

fn hub(hub: &HubRecord) -> Value {
    let HubRecord {
        hostname, policy, ..
    } = hub;
    json!({
        "applyAllocationPolicy": hub.applies_policy,
        "allocationWeight": hub.weight,
        "name": hostname,
        "connectionString":
            format!("HostName={hostname};SharedAccessKeyName={policy};SharedAccessKey={MASK}"),
        "location": hub.location,
    })
}

/// A policy with its keys.
pub(super) fn keys(policy: &PolicyRecord) -> Value {
    json!({
        "keyName": policy.name,
        "primaryKey": policy.primary,
        "secondaryKey": policy.secondary,
        "rights": rights(policy),
    })
}

fn rights(policy: &PolicyRecord) -> String {
    let names: Vec<&str> = policy.permissions.iter().map(|it| it.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
