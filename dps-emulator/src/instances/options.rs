//! The options of an instance that is created while the emulator runs.

use std::sync::Arc;

use dps_types::{Clock, ETag, IdScope};

use super::{HubRecord, InstanceName, PolicyRecord, Record, Resource, StoredKey};
use crate::access::{AccessPolicy, OWNER, OWNER_PERMISSIONS};
use crate::allocate::{DefaultAllocation, LinkedHub};
use crate::config::invalid;
use crate::error::Error;
use crate::hub::POLICY;

/// The options of an instance that is created while the emulator runs, by
/// [`Emulator::create_instance`](crate::Emulator::create_instance).
///
/// Other settings, such as limits, bearer tokens and certificate authorities, are those of the emulator.
///
/// ```
/// use dps_emulator::{Emulator, InstanceOptions, LinkedHub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dps = Emulator::builder().start().await?;
/// let options = InstanceOptions::new("suite-1".parse()?)
///     .link_hub("suite-1.azure-devices.net".parse::<LinkedHub>()?);
/// let suite = dps.create_instance(options).await?;
/// assert_ne!(suite.id_scope(), dps.id_scope());
/// suite.delete().await?;
/// # dps.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct InstanceOptions {
    name: InstanceName,
    hubs: Vec<LinkedHub>,
    default_allocation: DefaultAllocation,
    policies: Vec<AccessPolicy>,
    pub(super) clock: Option<Arc<dyn Clock>>,
}

impl InstanceOptions {
    /// An instance with this name, without linked hubs.
    pub fn new(name: InstanceName) -> Self {
        Self {
            name,
            hubs: Vec::new(),
            default_allocation: DefaultAllocation::default(),
            policies: Vec::new(),
            clock: None,
        }
    }

    /// Links an IoT hub. No other instance of the emulator may have linked it, because a device that connects to a hub is
    /// identified by the hub's name.
    #[must_use]
    pub fn link_hub(mut self, hub: impl Into<LinkedHub>) -> Self {
        self.hubs.push(hub.into());
        self
    }

    /// The allocation policy of enrollments that have none; [`Hashed`](DefaultAllocation::Hashed) by default.
    #[must_use]
    pub fn default_allocation(mut self, policy: DefaultAllocation) -> Self {
        self.default_allocation = policy;
        self
    }

    /// Adds a shared access policy. `provisioningserviceowner`, which has every permission, always exists.
    #[must_use]
    pub fn access_policy(mut self, policy: AccessPolicy) -> Self {
        self.policies.push(policy);
        self
    }

    /// The clock of the instance; that of the emulator by default. It is not kept: after a restart the instance has the
    /// emulator's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The stored form, with new keys.
    pub(super) fn into_record(self, id_scope: IdScope, etag: ETag) -> Result<Record, Error> {
        let mut policies = vec![PolicyRecord::new(OWNER, OWNER_PERMISSIONS.to_vec())];
        for policy in &self.policies {
            if policies.iter().any(|it| it.is_named(policy.name())) {
                let reason = format!("two policies have the name '{}'", policy.name());
                return Err(invalid(reason));
            }
            policies.push(PolicyRecord::configured(policy));
        }
        let mut hubs: Vec<HubRecord> = Vec::with_capacity(self.hubs.len());
        for hub in &self.hubs {
            if hubs.iter().any(|it| it.hostname == hub.hostname) {
                return Err(invalid(format!("the hub {} is linked twice", hub.hostname)));
            }
            hubs.push(hub.into());
        }
        Ok(Record {
            name: self.name,
            id_scope,
            resource: Resource::default(),
            policies,
            hubs,
            allocation_policy: self.default_allocation.into(),
            local_auth_disabled: false,
            etag,
            is_deleted: false,
        })
    }
}

impl From<InstanceName> for InstanceOptions {
    fn from(name: InstanceName) -> Self {
        Self::new(name)
    }
}

impl From<&LinkedHub> for HubRecord {
    /// A hub with a new key.
    fn from(hub: &LinkedHub) -> Self {
        Self {
            hostname: hub.hostname.clone(),
            policy: POLICY.to_owned(),
            key: StoredKey::generate(),
            weight: hub.weight,
            applies_policy: hub.applies_policy,
            location: None,
        }
    }
}
