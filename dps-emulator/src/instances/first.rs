//! The first instance in the form of those that were created.

use dps_types::ETag;

use super::{HubRecord, InstanceName, Instances, PolicyRecord, Record, Resource, StoredKey};
use crate::service_error::ServiceError;

impl Instances {
    /// The first instance in the form of those that were created. It is not stored.
    pub(crate) fn first_record(&self) -> Result<Record, ServiceError> {
        let instance = &self.first().instance;
        let access = instance.access();
        let policies = access.policies.iter().map(|policy| PolicyRecord {
            name: policy.name.clone(),
            permissions: policy.permissions.clone(),
            primary: StoredKey(policy.keys[0].clone()),
            secondary: StoredKey(policy.keys[1].clone()),
        });
        let (allocated, allocation_policy) = instance.allocator.linked_hubs();
        let hubs = instance.hubs.linked_hubs();
        let hubs = hubs
            .iter()
            .zip(&allocated)
            .map(|(hub, allocated)| HubRecord {
                hostname: hub.hostname.clone(),
                policy: hub.connection.shared_access_key_name().to_owned(),
                key: StoredKey(hub.connection.shared_access_key().clone()),
                weight: allocated.weight,
                applies_policy: allocated.applies_policy,
                location: None,
            });
        Ok(Record {
            name: InstanceName::first(),
            id_scope: instance.id_scope.clone(),
            resource: Resource::default(),
            policies: policies.collect(),
            hubs: hubs.collect(),
            allocation_policy,
            local_auth_disabled: access.local_auth_disabled,
            // It does not change while the emulator runs.
            etag: ETag::new("configured")?,
            is_deleted: false,
        })
    }
}
