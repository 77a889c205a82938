//! The operations on instances: create, read, change, delete, list, and their keys.
//!
//! Every operation ends before it is answered, so an answer is final: `provisioningState` is `Succeeded`, and there are no headers of
//! a long-running operation.

use ::http::StatusCode;
use dps_types::ErrorCode;
use dps_types::protocol::IfMatch;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::Reply;
use super::description::{Description, Tags, keys, resource};
use super::method_not_allowed;
use super::path::{Part, Path, Target};
use crate::instances::{InstanceName, Instances, PolicyRecord, Record, Resource};
use crate::service_error::ServiceError;

/// The body of a request whether a name is available.
#[derive(Deserialize)]
struct NameQuestion {
    name: String,
}

/// Answers a request for instances.
pub(super) async fn answer(
    instances: &Instances,
    call: &Call,
    path: &Path,
) -> Result<Reply, ServiceError> {
    let method = call.method.as_str();
    match (method, &path.target) {
        ("GET", Target::Subscription) => list(instances, path, None).await,
        ("GET", Target::Group(group)) => list(instances, path, Some(group)).await,
        ("POST", Target::NameAvailability) => availability(instances, call).await,
        (_, Target::Instance { group, name, part }) => {
            let place = Place {
                instances,
                subscription: &path.subscription,
                group,
                name,
            };
            match (method, part) {
                ("GET", Part::Whole) => Ok(ok(&resource(&place.required().await?))),
                ("PUT", Part::Whole) => Box::pin(place.put(call)).await,
                ("PATCH", Part::Whole) => Box::pin(place.patch(call)).await,
                ("DELETE", Part::Whole) => Box::pin(place.delete()).await,
                ("GET", Part::Skus) => {
                    place.required().await?;
                    Ok(ok(&json!({ "value": [{ "name": "S1" }] })))
                }
                ("POST", Part::Keys) => {
                    let record = place.required().await?;
                    let all: Vec<Value> = record.policies.iter().map(keys).collect();
                    Ok(ok(&json!({ "value": all })))
                }
                ("POST", Part::Key(key)) => {
                    let record = place.required().await?;
                    let found = record.policies.iter().find(|it| it.is_named(key));
                    let policy: &PolicyRecord = found
                        .ok_or_else(|| not_found(format!("The policy '{key}' does not exist.")))?;
                    Ok(ok(&keys(policy)))
                }
                ("GET", Part::OperationResult) => Err(not_found(
                    "There is no such operation: every operation ends before it is answered."
                        .to_owned(),
                )),
                _ => Err(method_not_allowed()),
            }
        }
        _ => Err(method_not_allowed()),
    }
}

async fn list(
    instances: &Instances,
    path: &Path,
    group: Option<&str>,
) -> Result<Reply, ServiceError> {
    let mut records = instances.list().await?;
    records.insert(0, instances.first_record()?);
    let is_asked = |record: &&Record| {
        let Resource {
            subscription,
            resource_group,
            ..
        } = &record.resource;
        subscription.eq_ignore_ascii_case(&path.subscription)
            && group.is_none_or(|group| resource_group.eq_ignore_ascii_case(group))
    };
    let all: Vec<Value> = records.iter().filter(is_asked).map(resource).collect();
    Ok(ok(&json!({ "value": all })))
}

async fn availability(instances: &Instances, call: &Call) -> Result<Reply, ServiceError> {
    let NameQuestion { name } = call.json()?;
    let unavailable = |reason: &str, message: String| json!({ "nameAvailable": false, "reason": reason, "message": message });
    let answer = match name.parse::<InstanceName>() {
        Err(error) => unavailable("Invalid", error.to_string()),
        Ok(name) if instances.is_taken(&name).await? => unavailable(
            "AlreadyExists",
            format!("The name '{name}' is not available: another instance has it."),
        ),
        Ok(_) => json!({ "nameAvailable": true }),
    };
    Ok(ok(&answer))
}

/// The place of an instance in Azure Resource Manager.
struct Place<'a> {
    instances: &'a Instances,
    subscription: &'a str,
    group: &'a str,
    name: &'a str,
}

impl Place<'_> {
    /// The instance of this name, wherever it is. The first one is in every subscription and resource group.
    async fn anywhere(&self) -> Result<Option<Record>, ServiceError> {
        let Ok(name) = self.name.parse::<InstanceName>() else {
            return Ok(None);
        };
        if name != InstanceName::first() {
            return self.instances.record_of(&name).await;
        }
        let mut first = self.instances.first_record()?;
        self.group.clone_into(&mut first.resource.resource_group);
        self.subscription
            .clone_into(&mut first.resource.subscription);
        Ok(Some(first))
    }

    /// The instance at this place.
    async fn found(&self) -> Result<Option<Record>, ServiceError> {
        let found = self.anywhere().await?;
        Ok(found.filter(|record| self.is_of(record)))
    }

    async fn required(&self) -> Result<Record, ServiceError> {
        let found = self.found().await?;
        found.ok_or_else(|| {
            not_found(format!(
                "The provisioning service '{}' does not exist in the resource group '{}'.",
                self.name, self.group
            ))
        })
    }

    fn is_of(&self, record: &Record) -> bool {
        let Resource {
            subscription,
            resource_group,
            ..
        } = &record.resource;
        subscription.eq_ignore_ascii_case(self.subscription)
            && resource_group.eq_ignore_ascii_case(self.group)
    }

    async fn put(&self, call: &Call) -> Result<Reply, ServiceError> {
        let name = self
            .name
            .parse::<InstanceName>()
            .map_err(|error| ServiceError::invalid(crate::state::sentence(error.to_string())))?;
        check_changeable(&name)?;
        let description: Description = call.json()?;
        let before = self.anywhere().await?;
        let condition = call.condition()?;
        check(condition.as_ref(), before.as_ref())?;
        let etag = self.instances.new_etag();
        match before {
            Some(before) if self.is_of(&before) => {
                let mut record = description.into_record(before.clone())?;
                record.etag = etag;
                self.instances.replace(&before, &record).await?;
                Ok(ok(&resource(&record)))
            }
            // The name is that of an instance elsewhere if there is one, which is found out when the new one is written.
            _ => {
                let empty = Record {
                    name,
                    id_scope: self.instances.new_id_scope()?,
                    resource: Resource {
                        subscription: self.subscription.to_owned(),
                        resource_group: self.group.to_owned(),
                        ..Resource::default()
                    },
                    policies: Vec::new(),
                    hubs: Vec::new(),
                    allocation_policy: dps_types::enrollment::AllocationPolicyKind::Hashed,
                    local_auth_disabled: false,
                    etag,
                    is_deleted: false,
                };
                let record = description.into_record(empty)?;
                self.instances.create(&record).await?;
                Ok(Reply::json(StatusCode::CREATED, &resource(&record)))
            }
        }
    }

    async fn patch(&self, call: &Call) -> Result<Reply, ServiceError> {
        let before = self.required().await?;
        check_changeable(&before.name)?;
        let tags: Tags = call.json()?;
        check(call.condition()?.as_ref(), Some(&before))?;
        let mut record = tags.into_record(before.clone());
        record.etag = self.instances.new_etag();
        self.instances.replace(&before, &record).await?;
        Ok(ok(&resource(&record)))
    }

    async fn delete(&self) -> Result<Reply, ServiceError> {
        let Some(record) = self.found().await? else {
            return Ok(Reply::no_content());
        };
        check_changeable(&record.name)?;
        Ok(match self.instances.delete(&record.name).await? {
            true => Reply::empty(StatusCode::OK),
            false => Reply::no_content(),
        })
    }
}

/// The options of the emulator decide what the first instance is.
fn check_changeable(name: &InstanceName) -> Result<(), ServiceError> {
    match *name == InstanceName::first() {
        false => Ok(()),
        true => Err(ServiceError::new(
            ErrorCode::INVALID_OPERATION,
            format!(
                "The instance '{name}' is part of the emulator's configuration, and cannot be changed here. Create another one."
            ),
        )),
    }
}

fn check(condition: Option<&IfMatch>, before: Option<&Record>) -> Result<(), ServiceError> {
    let holds = match (condition, before) {
        (None, _) => true,
        (Some(condition), Some(before)) => condition.matches(&before.etag),
        (Some(_), None) => false,
    };
    match holds {
        true => Ok(()),
        false => Err(ServiceError::precondition()),
    }
}

fn ok(document: &Value) -> Reply {
    Reply::json(StatusCode::OK, document)
}

fn not_found(message: String) -> ServiceError {
    ServiceError::new(ErrorCode::NOT_FOUND, message)
}
