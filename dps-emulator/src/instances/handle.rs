//! An instance that was created while the emulator runs, for tests in the same process.

use std::sync::Arc;

use dps_types::{HubHostname, IdScope, ServiceConnectionString};
use zeroize::Zeroizing;

use super::{InstanceName, InstanceOptions, Instances};
use crate::Emulator;
use crate::access::OWNER;
use crate::endpoint::Gateway;
use crate::error::{Error, ErrorKind};
use crate::fault::Faults;
use crate::hub::HubHandle;
use crate::issuance::IssuanceHandle;
use crate::service_error::ServiceError;

/// An instance that was created while the emulator runs, by
/// [`Emulator::create_instance`](Emulator::create_instance) or through the control plane.
///
/// It has enrollments, registrations, policies, faults and hubs of its own. Devices reach it by its id scope, at the addresses of
/// the emulator; service clients by the key of its connection string.
#[derive(Debug, Clone)]
pub struct InstanceHandle {
    instances: Arc<Instances>,
    gateway: Arc<Gateway>,
    name: InstanceName,
}

impl InstanceHandle {
    /// The name.
    pub fn name(&self) -> &InstanceName {
        &self.name
    }

    /// The id scope, which the emulator chose.
    pub fn id_scope(&self) -> &IdScope {
        &self.gateway.instance.id_scope
    }

    /// The connection string of the policy `provisioningserviceowner`, at the emulator's own host and port: the key identifies the
    /// instance. It is a secret, zeroized when dropped. Empty if the instance has no such policy any more.
    pub fn service_connection_string(&self) -> Zeroizing<String> {
        self.connection_string(OWNER).unwrap_or_default()
    }

    /// The connection string of a shared access policy, with the policy's primary key: a secret, zeroized when dropped.
    pub fn connection_string(&self, policy: &str) -> Option<Zeroizing<String>> {
        let access = self.gateway.instance.access();
        let mut policies = access.policies.iter();
        let policy = policies.find(|it| it.is_named(policy))?;
        let host = &*self.gateway.shared.local_host;
        let key = policy.keys[0].clone();
        let connection = ServiceConnectionString::new(host, &*policy.name, key);
        Some(connection.ok()?.reveal())
    }

    /// The names of the linked hubs.
    pub fn hub_names(&self) -> Vec<HubHostname> {
        self.gateway.instance.allocator.hub_names()
    }

    /// A linked hub: its devices and their twins. `None` if no hub of this name is linked.
    pub fn hub(&self, name: &str) -> Option<HubHandle> {
        HubHandle::new(Arc::clone(&self.gateway.instance.hubs), name)
    }

    /// The queue of faults of this instance. It is empty at first.
    pub fn faults(&self) -> &Faults {
        &self.gateway.faults
    }

    /// The certificates that the instance and its hubs issue to devices.
    pub fn issuance(&self) -> IssuanceHandle {
        IssuanceHandle::new(Arc::clone(&self.gateway.instance))
    }

    /// Deletes the instance and everything that belongs to it. False if it was deleted already.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the store fails.
    pub async fn delete(&self) -> Result<bool, Error> {
        Box::pin(self.instances.delete(&self.name))
            .await
            .map_err(failed)
    }
}

impl Emulator {
    /// Creates an instance with an id scope and keys of its own, for example for one test suite. It stays until it is deleted; with
    /// a data directory also when the emulator starts again.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if the name or a hub is that of another instance, or the
    /// [limit](crate::Limits::instances) is reached; [`ErrorKind::Store`] if the store fails.
    pub async fn create_instance(
        &self,
        options: impl Into<InstanceOptions>,
    ) -> Result<InstanceHandle, Error> {
        let mut options = options.into();
        let clock = options.clock.take();
        let instances = self.instances();
        let id_scope = instances.new_id_scope().map_err(failed)?;
        let etag = instances.new_etag();
        let record = options.into_record(id_scope, etag)?;
        let gateway = Box::pin(async {
            instances.create(&record).await?;
            instances.assemble(&record.id_scope, clock).await
        });
        let gateway = gateway.await.map_err(failed)?;
        self.handle(record.name.clone(), gateway)
            .ok_or_else(|| deleted(&record.name))
    }

    /// An instance that was created before. `None` if no instance has this name.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the store fails.
    pub async fn instance(&self, name: &InstanceName) -> Result<Option<InstanceHandle>, Error> {
        let found = Box::pin(self.instances().named(name));
        let gateway = found.await.map_err(failed)?;
        Ok(self.handle(name.clone(), gateway))
    }

    /// The names of the instances that were created and not deleted.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the store fails.
    pub async fn instance_names(&self) -> Result<Vec<InstanceName>, Error> {
        let records = self.instances().list().await.map_err(failed)?;
        let mut names: Vec<InstanceName> = records.into_iter().map(|it| it.name).collect();
        names.sort();
        Ok(names)
    }

    fn handle(&self, name: InstanceName, gateway: Option<Arc<Gateway>>) -> Option<InstanceHandle> {
        Some(InstanceHandle {
            instances: Arc::clone(self.instances()),
            gateway: gateway?,
            name,
        })
    }
}

fn deleted(name: &InstanceName) -> Error {
    let what = format!("the instance '{name}' was deleted while it was created");
    Error::new(ErrorKind::Store, what)
}

fn failed(error: ServiceError) -> Error {
    let kind = match error.status() {
        500.. => ErrorKind::Store,
        _ => ErrorKind::Configuration,
    };
    Error::new(kind, error.message())
}
