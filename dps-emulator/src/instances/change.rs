//! Creating, changing and deleting instances. One atomic change of the store has the record, the name and the hubs of an instance.

use std::fmt;
use std::sync::Arc;

use dps_types::{ErrorCode, HubHostname, IdScope};

use super::{InstanceName, Instances, Record};
use crate::config::invalid;
use crate::error::{Error, ErrorKind};
use crate::service_error::ServiceError;
use crate::state::store::{Change, Expected, Partition, Table};
use crate::state::{decode, encode};

/// A key in the table of instances.
pub(crate) enum Key<'a> {
    /// The instance with this id scope.
    IdScope(&'a IdScope),
    /// The id scope of the instance with this name.
    Name(&'a InstanceName),
    /// The id scope of the instance that has linked this hub.
    Hub(&'a HubHostname),
}

impl Key<'_> {
    /// The beginning of the keys of instances.
    pub(crate) const SCOPES: &'static str = "id-scope/";
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdScope(id_scope) => write!(f, "{}{}", Self::SCOPES, id_scope.to_lowercase()),
            Self::Name(name) => write!(f, "name/{name}"),
            Self::Hub(hub) => write!(f, "hub/{}", hub.to_lowercase()),
        }
    }
}

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
        // A deletion that was interrupted keeps the name and the hubs.
        self.complete_deletion(&Key::Name(&record.name)).await?;
        for hub in &record.hubs {
            self.complete_deletion(&Key::Hub(&hub.hostname)).await?;
        }
        self.check(record).await?;
        let key = Key::Name(&record.name).to_string();
        if self.store().get(Table::Instances, &key).await?.is_some() {
            return Err(name_taken(&record.name));
        }
        let most = self.blueprint.limits.instances;
        // The count includes names and hubs.
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
                self.check(record).await?;
                Err(name_taken(&record.name))
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
        let stored = self.read(&Key::IdScope(&before.id_scope)).await?;
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
        match self.read(&Key::Name(name)).await? {
            Some(stored) => self.remove(stored).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Completes the deletion of the instance that holds the key, if it was interrupted.
    async fn complete_deletion(&self, key: &Key<'_>) -> Result<(), ServiceError> {
        match self.read(key).await? {
            Some(stored) if stored.record.is_deleted => self.remove(stored).await,
            _ => Ok(()),
        }
    }

    /// Hides an instance first, so that no request uses it any more, then removes its data, and then its name. A deletion that is
    /// interrupted is completed when the name is used again.
    async fn remove(&self, stored: Stored) -> Result<(), ServiceError> {
        let mut hidden = stored.record.clone();
        hidden.is_deleted = true;
        if !self.write(Some(&stored), &hidden).await? {
            return Err(ServiceError::precondition());
        }
        let record = stored.record;
        if let Some(gateway) = self.forget(&record.id_scope) {
            gateway.engine.stopped().await;
            // Their connections to other replicas end as well.
            gateway.instance.hubs.remove_all().await?;
        }
        let store = Arc::clone(&self.blueprint.store);
        Partition::of(store, &record.id_scope).clear().await?;
        let keys = Keys::of(&hidden);
        let changes: Vec<Change<'_>> = keys
            .all()
            .map(|key| Change::delete(Table::Instances, key, Expected::Anything))
            .collect();
        self.store().apply(&changes).await?;
        Ok(())
    }

    /// Writes the record, the name and the hubs. False if the record or the name are not as expected.
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
        let linked = old.iter().flat_map(|old| &old.hubs);
        for key in linked.filter(|key| !keys.hubs.contains(key)) {
            changes.push(Change::delete(table, key, Expected::Anything));
        }
        for key in &keys.hubs {
            let expected = match old.as_ref().is_some_and(|old| old.hubs.contains(key)) {
                true => Expected::Anything,
                false => Expected::Absent,
            };
            changes.push(Change::put(table, key, expected, id_scope.to_vec()));
        }
        Ok(self.store().apply(&changes).await?)
    }

    /// Checks that no created instance has the id scope or a hub of the first one.
    pub(crate) async fn check_first(&self) -> Result<(), Error> {
        let first = &self.first.instance;
        let hubs = first.allocator.hub_names();
        let keys = hubs
            .iter()
            .map(|hub| (Key::Hub(hub).to_string(), hub.to_string()));
        let id_scope = &first.id_scope;
        let own = (Key::IdScope(id_scope).to_string(), id_scope.to_string());
        for (key, what) in keys.chain([own]) {
            let holder = self.store().get(Table::Instances, &key).await;
            let holder = holder.map_err(|error| {
                Error::new(ErrorKind::Store, "the instances cannot be read").with_source(error)
            })?;
            if holder.is_some() {
                return Err(invalid(format!(
                    "'{what}' belongs to an instance that was created before: delete that instance, or choose another"
                )));
            }
        }
        Ok(())
    }

    /// Checks that the name and the hubs of an instance are not those of another.
    async fn check(&self, record: &Record) -> Result<(), ServiceError> {
        if record.name == InstanceName::first() {
            return Err(name_taken(&record.name));
        }
        let (count, most) = (record.hubs.len() as u64, self.blueprint.limits.linked_hubs);
        if count > most {
            return Err(ServiceError::invalid(format!(
                "{count} IoT hubs are linked, and the limit is {most}."
            )));
        }
        let own = self.first.instance.allocator.hub_names();
        for hub in record.hubs.iter().map(|hub| &hub.hostname) {
            let key = Key::Hub(hub).to_string();
            let holder = self.store().get(Table::Instances, &key).await?;
            let is_own = |id_scope: Vec<u8>| id_scope == record.id_scope.as_str().as_bytes();
            if own.contains(hub) || !holder.is_none_or(is_own) {
                return Err(ServiceError::new(
                    CONFLICT,
                    format!(
                        "The IoT hub '{hub}' is linked to another instance of this emulator. Unlink it there, or link a hub with another name."
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The instance of a key as it is stored, even if it is being deleted.
    async fn read(&self, key: &Key<'_>) -> Result<Option<Stored>, ServiceError> {
        let id_scope = match key {
            Key::IdScope(id_scope) => (*id_scope).clone(),
            key => match self.id_scope_of(key).await? {
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

/// The keys of an instance in the store.
struct Keys {
    record: String,
    name: String,
    hubs: Vec<String>,
}

impl Keys {
    fn of(record: &Record) -> Self {
        let hubs = record.hubs.iter();
        Self {
            record: Key::IdScope(&record.id_scope).to_string(),
            name: Key::Name(&record.name).to_string(),
            hubs: hubs
                .map(|hub| Key::Hub(&hub.hostname).to_string())
                .collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        [&self.record, &self.name]
            .into_iter()
            .chain(&self.hubs)
            .map(String::as_str)
    }
}

/// The instance conflicts with another.
const CONFLICT: ErrorCode = ErrorCode::new(409_001);

fn name_taken(name: &InstanceName) -> ServiceError {
    ServiceError::new(
        CONFLICT,
        format!("The name '{name}' is not available: another instance has it."),
    )
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
                let stored = instances.read(&key).await.expect("read").expect("stored");
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
