//! Creating, changing and deleting instances. One atomic change of the store has the record and the keys that lead to it.

use std::sync::Arc;

use dps_types::{ErrorCode, IdScope};

use super::keys::Keys;
use super::{InstanceName, Instances, Key, Record};
use crate::service_error::ServiceError;
use crate::state::store::{Change, Expected, Partition, Table};
use crate::state::{decode, encode};

impl Instances {
    /// A new id scope, such as `0ne8A3F00C1`. Azure's have the same form.
    pub(crate) fn new_id_scope(&self) -> Result<IdScope, ServiceError> {
        let number = uuid::Uuid::new_v4().as_u128() as u32;
        Ok(IdScope::new(format!("0ne{number:08X}"))?)
    }

    /// Whether an instance has the name.
    pub(crate) async fn is_taken(&self, name: &InstanceName) -> Result<bool, ServiceError> {
        Ok(*name == InstanceName::first() || self.record_of(name).await?.is_some())
    }

    /// Writes a new instance.
    ///
    /// # Errors
    /// 409 if another instance has the name or one of the hubs, 403 if there are too many instances.
    pub(crate) async fn create(&self, record: &Record) -> Result<(), ServiceError> {
        let _turn = self.turn.lock().await;
        self.check_name(&record.name).await?;
        self.check(record).await?;
        let most = self.blueprint.limits.instances;
        // The count includes the keys that lead to instances.
        let at_most = self.store().count(Table::Instances).await?;
        if at_most >= most && self.list().await?.len() as u64 >= most {
            return Err(ServiceError::new(
                ErrorCode::QUOTA_EXCEEDED,
                format!("The emulator has reached its limit of {most} instances."),
            ));
        }
        match self.write(None, record).await? {
            true => Ok(()),
            false => {
                // Another emulator was faster.
                self.check_name(&record.name).await?;
                self.check(record).await?;
                Err(ServiceError::precondition())
            }
        }
    }

    /// Replaces an instance. It takes effect with the next request.
    ///
    /// # Errors
    /// 412 if it has changed since it was read, 409 if another instance has one of the hubs.
    pub(crate) async fn replace(
        &self,
        before: &Record,
        record: &Record,
    ) -> Result<(), ServiceError> {
        let _turn = self.turn.lock().await;
        self.check(record).await?;
        let stored = self.read(Key::IdScope(&before.id_scope)).await?;
        let Some(stored) = stored.filter(|stored| stored.record == *before) else {
            return Err(ServiceError::precondition());
        };
        match self.write(Some(&stored), record).await? {
            true => {}
            false => return Err(ServiceError::precondition()),
        }
        let known = self
            .assembled()
            .get(&record.id_scope)
            .map(|it| Arc::clone(&it.gateway));
        match known {
            Some(gateway) => self.update(&gateway, record),
            None => Ok(()),
        }
    }

    /// Deletes an instance and everything that belongs to it. False if no instance has this name.
    pub(crate) async fn delete(&self, name: &InstanceName) -> Result<bool, ServiceError> {
        let _turn = self.turn.lock().await;
        match self.read(Key::Name(name)).await? {
            Some(stored) => self.remove(stored).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Completes the deletion of the instance that holds the key, if it was interrupted.
    pub(super) async fn complete_deletion(&self, key: Key<'_>) -> Result<(), ServiceError> {
        match self.read(key).await? {
            Some(stored) if stored.record.is_deleted => self.remove(stored).await,
            _ => Ok(()),
        }
    }

    /// Hides an instance first, so that no request uses it any more, then removes its data, and then its name. A deletion that is
    /// interrupted is completed when its name, or another key of it, is used again.
    async fn remove(&self, stored: Stored) -> Result<(), ServiceError> {
        let mut hidden = stored.record.clone();
        hidden.is_deleted = true;
        if !self.write(Some(&stored), &hidden).await? {
            return match stored.record.is_deleted {
                // Another emulator has completed the deletion.
                true => Ok(()),
                false => Err(ServiceError::precondition()),
            };
        }
        let record = stored.record;
        let gateway = match self.forget(&record.id_scope) {
            Some(gateway) => gateway,
            None => Arc::new(self.assembled_of(&record, None).await?),
        };
        gateway.engine.stopped().await;
        // The connections of devices end, also those to other replicas.
        gateway.instance.hubs.remove_all().await?;
        let store = Arc::clone(&self.blueprint.store);
        Partition::of(store, &record.id_scope).clear().await?;
        let (keys, bytes) = (Keys::of(&hidden), encode(&hidden)?);
        // If another emulator has completed the deletion, a new instance may have the name and the hubs.
        let is_there = Change::check(Table::Instances, &keys.record, Expected::Exactly(&bytes));
        let deletions = keys
            .all()
            .map(|key| Change::delete(Table::Instances, key, Expected::Anything));
        let changes: Vec<Change<'_>> = std::iter::once(is_there).chain(deletions).collect();
        self.store().apply(&changes).await?;
        Ok(())
    }

    /// Writes the record and the keys that lead to it. False if one of them is not as expected.
    async fn write(&self, before: Option<&Stored>, record: &Record) -> Result<bool, ServiceError> {
        let keys = Keys::of(record);
        let old = before.map(|stored| Keys::of(&stored.record));
        let expected = match before {
            Some(stored) => Expected::Exactly(&stored.bytes),
            None => Expected::Absent,
        };
        let id_scope = record.id_scope.as_str().as_bytes();
        let table = Table::Instances;
        let mut changes = vec![Change::put(table, &keys.record, expected, encode(record)?)];
        if before.is_none() {
            let absent = Expected::Absent;
            changes.push(Change::put(table, &keys.name, absent, id_scope.to_vec()));
        }
        let linked = old.iter().flat_map(|old| &old.leading);
        for key in linked.filter(|key| !keys.leading.contains(key)) {
            changes.push(Change::delete(table, key, Expected::Anything));
        }
        for key in &keys.leading {
            let expected = match old.as_ref().is_some_and(|old| old.leading.contains(key)) {
                true => Expected::Anything,
                false => Expected::Absent,
            };
            changes.push(Change::put(table, key, expected, id_scope.to_vec()));
        }
        Ok(self.store().apply(&changes).await?)
    }

    /// The instance of a key as it is stored, even if it is being deleted.
    async fn read(&self, key: Key<'_>) -> Result<Option<Stored>, ServiceError> {
        let id_scope = match key {
            Key::IdScope(id_scope) => id_scope.clone(),
            key => match self.id_scope_of(&key).await? {
                Some(id_scope) => id_scope,
                None => return Ok(None),
            },
        };
        let key = Key::IdScope(&id_scope).to_string();
        let Some(bytes) = self.store().get(Table::Instances, &key).await? else {
            return Ok(None);
        };
        let record = decode(&bytes)?;
        Ok(Some(Stored { record, bytes }))
    }
}

/// A record with its stored form.
struct Stored {
    record: Record,
    bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Emulator;
    use crate::instances::InstanceOptions;
    use crate::state::store::Store;

    #[tokio::test]
    async fn an_interrupted_deletion_is_completed_when_the_name_or_a_hub_is_used_again() {
        let dps = Emulator::builder().start().await.expect("started");
        let name = |text: &str| text.parse::<InstanceName>().expect("a name");
        let options = |text: &str| {
            let hub: crate::LinkedHub = "hub-a".parse().expect("a hub");
            InstanceOptions::new(name(text)).link_hub(hub)
        };
        let instances = dps.instances();
        for again in ["suite-1", "suite-2", "suite-1"] {
            let mut left = Vec::new();
            for record in instances.list().await.expect("listed") {
                let key = Key::IdScope(&record.id_scope);
                let stored = instances.read(key).await.expect("read").expect("stored");
                let mut hidden = record.clone();
                hidden.is_deleted = true;
                let written = instances.write(Some(&stored), &hidden).await;
                assert!(written.expect("written"));
                let store = Arc::clone(&instances.blueprint.store);
                let data = Partition::of(store, &record.id_scope);
                let put = data.put(Table::Groups, "g", Expected::Absent, vec![1]);
                assert!(put.await.expect("written"));
                let found = dps.instance(&record.name).await.expect("read");
                assert!(found.is_none());
                left.push(data);
            }
            assert!(dps.instance_names().await.expect("listed").is_empty());
            let created = dps.create_instance(options(again)).await.expect("created");
            assert_eq!(created.hub_names(), ["hub-a"]);
            for data in left {
                assert_eq!(data.count(Table::Groups).await.expect("counted"), 0);
            }
        }
    }
}
