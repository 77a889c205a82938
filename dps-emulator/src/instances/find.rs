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

    /// The instance whose shared access policy signed the token.
    pub(crate) async fn of_policy(
        &self,
        token: &SasToken,
    ) -> Result<Option<Arc<Gateway>>, ServiceError> {
        self.signed_by(
            |gateway| gateway.instance.access().know_the_key_of(token),
            |record| record.policies().iter().any(|it| it.signed(token)),
        )
        .await
    }

    /// The instance whose linked hub has signed the token.
    pub(crate) async fn of_hub_key(
        &self,
        token: &SasToken,
    ) -> Result<Option<Arc<Gateway>>, ServiceError> {
        self.signed_by(
            |gateway| gateway.instance.hubs.know_the_key_of(token),
            |record| {
                let hubs = record.linked_hubs("localhost").unwrap_or_default();
                hubs.iter().any(|hub| hub.signed(token))
            },
        )
        .await
    }

    /// Looks in memory first, and then in the store, where another emulator may have created or changed an instance.
    async fn signed_by(
        &self,
        in_memory: impl Fn(&Gateway) -> bool,
        stored: impl Fn(&Record) -> bool,
    ) -> Result<Option<Arc<Gateway>>, ServiceError> {
        for gateway in self.in_memory() {
            if in_memory(&gateway)
                && let Some(current) = self.of_id_scope(&gateway.instance.id_scope).await?
                && in_memory(&current)
            {
                return Ok(Some(current));
            }
        }
        let all = self.list().await?;
        match all.iter().find(|record| stored(record)) {
            Some(record) => self.of_id_scope(&record.id_scope).await,
            None => Ok(None),
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
