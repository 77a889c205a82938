//! Finds the instance that a name, a hub or a signature belongs to.

use std::sync::Arc;

use dps_types::sas::SasToken;
use dps_types::{HubHostname, IdScope};

use super::{InstanceName, Instances, Key, Record};
use crate::endpoint::Gateway;
use crate::service_error::ServiceError;
use crate::state::store::Table;

impl Instances {
    /// The stored form of the instance with this name. The first instance has none.
    pub(crate) async fn record_of(
        &self,
        name: &InstanceName,
    ) -> Result<Option<Record>, ServiceError> {
        let Some(id_scope) = self.id_scope_of(&Key::Name(name)).await? else {
            return Ok(None);
        };
        let stored = self.stored(&id_scope).await?;
        Ok(stored.map(|(record, _)| record))
    }

    /// The instance with this name.
    pub(crate) async fn named(
        &self,
        name: &InstanceName,
    ) -> Result<Option<Arc<Gateway>>, ServiceError> {
        if *name == InstanceName::first() {
            return Ok(Some(Arc::clone(self.first())));
        }
        self.of_key(&Key::Name(name)).await
    }

    /// The instance that has linked the hub with this host name.
    pub(crate) async fn of_hub(&self, name: &str) -> Result<Option<Arc<Gateway>>, ServiceError> {
        if self.first().instance.hubs.linked(name).is_some() {
            return Ok(Some(Arc::clone(self.first())));
        }
        match HubHostname::new(name) {
            Ok(hub) => self.of_key(&Key::Hub(&hub)).await,
            Err(_) => Ok(None),
        }
    }

    /// The instance whose shared access policy signed the token. Two instances never have the same policy with the same key.
    pub(crate) async fn of_policy(
        &self,
        token: &SasToken,
    ) -> Result<Option<Arc<Gateway>>, ServiceError> {
        let signed = |gateway: &Gateway| gateway.instance.access().know_the_key_of(token);
        for gateway in self.in_memory() {
            if signed(&gateway)
                && let Some(current) = self.of_id_scope(&gateway.instance.id_scope).await?
                && signed(&current)
            {
                return Ok(Some(current));
            }
        }
        // Another emulator may have created or changed an instance.
        let all = self.list().await?;
        let mut all = all.iter();
        match all.find(|record| record.policies().iter().any(|it| it.signed(token))) {
            Some(record) => self.of_id_scope(&record.id_scope).await,
            None => Ok(None),
        }
    }

    /// The instance whose linked hub signed the token. `None` if there are several: hubs may have the same key.
    pub(crate) async fn of_hub_key(
        &self,
        token: &SasToken,
    ) -> Result<Option<Arc<Gateway>>, ServiceError> {
        if self.first().instance.hubs.know_the_key_of(token) {
            return Ok(Some(Arc::clone(self.first())));
        }
        let all = self.list().await?;
        let mut signers = all.iter().filter(|record| {
            let hubs = record.linked_hubs("localhost").unwrap_or_default();
            hubs.iter().any(|hub| hub.signed(token))
        });
        match (signers.next(), signers.next()) {
            (Some(record), None) => self.of_id_scope(&record.id_scope).await,
            _ => Ok(None),
        }
    }

    async fn of_key(&self, key: &Key<'_>) -> Result<Option<Arc<Gateway>>, ServiceError> {
        match self.id_scope_of(key).await? {
            Some(id_scope) => self.of_id_scope(&id_scope).await,
            None => Ok(None),
        }
    }

    pub(super) async fn id_scope_of(&self, key: &Key<'_>) -> Result<Option<IdScope>, ServiceError> {
        let store = &self.blueprint.store;
        let bytes = store.get(Table::Instances, &key.to_string()).await?;
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(text.map(IdScope::new).transpose()?)
    }
}
