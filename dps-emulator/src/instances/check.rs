//! Checks that no two instances have the same name, hub, or policy with the same key.

use dps_types::ErrorCode;

use super::{InstanceName, Instances, Key, Record};
use crate::config::invalid;
use crate::error::{Error, ErrorKind};
use crate::service_error::ServiceError;
use crate::state::store::Table;

/// The instance conflicts with another.
const CONFLICT: ErrorCode = ErrorCode::new(409_001);

impl Instances {
    /// Checks that no created instance has the id scope or a hub of the first one.
    pub(crate) async fn check_first(&self) -> Result<(), Error> {
        let first = &self.first.instance;
        let hubs = first.allocator.hub_names();
        let keys = hubs.iter().map(|hub| (Key::Hub(hub), hub.as_str()));
        let id_scope = &first.id_scope;
        let own = (Key::IdScope(id_scope), id_scope.as_str());
        for (key, what) in keys.chain([own]) {
            let holder = self.store().get(Table::Instances, &key.to_string()).await;
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

    /// Checks that an instance has no hub and no key of another, and completes deletions that were interrupted.
    pub(super) async fn check(&self, record: &Record) -> Result<(), ServiceError> {
        let (count, most) = (record.hubs.len() as u64, self.blueprint.limits.linked_hubs);
        if count > most {
            return Err(ServiceError::invalid(format!(
                "{count} IoT hubs are linked, and the limit is {most}."
            )));
        }
        for key in record.leading_keys() {
            self.complete_deletion(key).await?;
            let holder = self.id_scope_of(&key).await?;
            if self.first_has(key) || holder.is_some_and(|it| it != record.id_scope) {
                return Err(conflict(key));
            }
        }
        Ok(())
    }

    /// Checks that no instance has the name.
    pub(super) async fn check_name(&self, name: &InstanceName) -> Result<(), ServiceError> {
        self.complete_deletion(Key::Name(name)).await?;
        let holder = self.id_scope_of(&Key::Name(name)).await?;
        match *name == InstanceName::first() || holder.is_some() {
            true => Err(conflict(Key::Name(name))),
            false => Ok(()),
        }
    }

    fn first_has(&self, key: Key<'_>) -> bool {
        let first = &self.first.instance;
        match key {
            Key::Hub(hub) => first.hubs.linked(hub.as_str()).is_some(),
            Key::Policy(name, key) => {
                let access = first.access();
                let mut policies = access.policies.iter();
                policies.any(|policy| policy.is_named(name) && policy.keys.contains(&key.0))
            }
            Key::IdScope(id_scope) => *id_scope == first.id_scope,
            Key::Name(name) => *name == InstanceName::first(),
        }
    }
}

fn conflict(key: Key<'_>) -> ServiceError {
    let message = match key {
        Key::Name(name) => format!("The name '{name}' is not available: another instance has it."),
        Key::IdScope(id_scope) => format!("Another instance has the id scope '{id_scope}'."),
        Key::Hub(hub) => format!(
            "The IoT hub '{hub}' is linked to another instance of this emulator. Unlink it there, or link a hub with another name."
        ),
        Key::Policy(name, _) => format!(
            "A policy '{name}' of another instance of this emulator has the same key. Leave the keys out, or choose others: a key identifies its instance."
        ),
    };
    ServiceError::new(CONFLICT, message)
}
