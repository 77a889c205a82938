//! Bulk operations: up to ten enrollments in one request. Each succeeds or fails by itself.

use std::collections::HashSet;

use ::http::StatusCode;
use dps_types::BulkOperationMode;
use dps_types::protocol::IfMatch;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::super::reply::Reply;
use super::Service;
use crate::service_error::ServiceError;
use crate::state::{Document, of_version, read_document};

/// The most items in a request. Source: the documentation of the official SDKs.
const MAX_ITEMS: usize = 10;

impl Service<'_> {
    pub(super) async fn bulk<D: Document>(&self) -> Result<Reply, ServiceError> {
        let operation = Operation::read::<D>(self.call.json()?)?;
        let tasks = operation
            .items
            .iter()
            .map(|item| self.item::<D>(item, &operation.mode));
        let outcomes = if operation.has_duplicates() {
            let mut outcomes = Vec::new();
            for task in tasks {
                outcomes.push(task.await);
            }
            outcomes
        } else {
            // Concurrently, so that a store on disk syncs once for all of them.
            join_all(tasks).await
        };
        let failed = operation.items.iter().zip(outcomes);
        let errors: Vec<Value> = failed
            .filter_map(|(item, outcome)| Some(item.error::<D>(&outcome.err()?)))
            .collect();
        Ok(Reply::json(
            StatusCode::OK,
            &json!({ "errors": errors, "isSuccessful": errors.is_empty() }),
        ))
    }

    async fn item<D: Document>(
        &self,
        item: &Item,
        mode: &BulkOperationMode,
    ) -> Result<(), ServiceError> {
        let condition = match mode {
            BulkOperationMode::Create => None,
            _ => item.condition()?,
        };
        match (mode, &condition) {
            (BulkOperationMode::Delete, _) => {
                self.state
                    .delete_enrollment::<D>(&item.key(), condition.as_ref())
                    .await
            }
            (BulkOperationMode::UpdateIfMatchETag, None) => Err(ServiceError::invalid(
                "An etag is required in the mode 'updateIfMatchETag'.",
            )),
            _ => {
                let document: D = read_document(item.document.clone().into())?;
                let mut document = of_version(document, self.api_version);
                document.forget_read_only();
                self.state
                    .put_enrollment(document, condition.as_ref(), &self.hubs)
                    .await
                    .map(drop)
            }
        }
    }
}

/// A bulk operation. If it cannot be read, no item is changed.
struct Operation {
    items: Vec<Item>,
    mode: BulkOperationMode,
}

/// An item of the request. Its document may not be a valid enrollment.
struct Item {
    id: String,
    document: Map<String, Value>,
}

impl Operation {
    fn read<D: Document>(mut body: Map<String, Value>) -> Result<Self, ServiceError> {
        let mode = match take(&mut body, "mode") {
            Some(Value::String(mode)) => BulkOperationMode::from(mode),
            _ => return Err(ServiceError::invalid("The mode is missing.")),
        };
        if let BulkOperationMode::Unknown(mode) = &mode {
            return Err(ServiceError::invalid(format!(
                "The mode '{mode}' is not known."
            )));
        }
        let Some(Value::Array(items)) = take(&mut body, D::LIST_FIELD) else {
            return Err(ServiceError::invalid(format!(
                "The field {} is missing.",
                D::LIST_FIELD
            )));
        };
        if items.is_empty() || items.len() > MAX_ITEMS {
            return Err(ServiceError::invalid(format!(
                "A bulk operation must have 1 to {MAX_ITEMS} items; this one has {}.",
                items.len()
            )));
        }
        Ok(Self {
            items: items
                .into_iter()
                .map(Item::read::<D>)
                .collect::<Result<_, _>>()?,
            mode,
        })
    }

    /// Whether two items have the same id. Then the order of the items matters.
    fn has_duplicates(&self) -> bool {
        let mut seen = HashSet::new();
        !self.items.iter().all(|item| seen.insert(item.key()))
    }
}

impl Item {
    /// An item must have an id, because a failure is reported by it.
    fn read<D: Document>(item: Value) -> Result<Self, ServiceError> {
        let missing = || ServiceError::invalid(format!("An item has no {}.", D::ID_FIELD));
        let Value::Object(document) = item else {
            return Err(missing());
        };
        match field(&document, D::ID_FIELD) {
            Some(Value::String(id)) => Ok(Self {
                id: id.clone(),
                document,
            }),
            _ => Err(missing()),
        }
    }

    fn key(&self) -> String {
        self.id.to_ascii_lowercase()
    }

    /// The `etag` of the item, as a condition.
    fn condition(&self) -> Result<Option<IfMatch>, ServiceError> {
        match field(&self.document, "etag") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(etag)) => Ok(Some(etag.parse()?)),
            Some(_) => Err(ServiceError::invalid("The etag must be a string.")),
        }
    }

    /// The failure of an item. The service reports the id under the name of its field.
    fn error<D: Document>(&self, error: &ServiceError) -> Value {
        json!({
            D::ID_FIELD: self.id,
            "errorCode": error.code(),
            "errorStatus": error.message(),
        })
    }
}

/// A field, by its name in any case.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut fields = object.iter();
    fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

fn take(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = object.keys().find(|key| key.eq_ignore_ascii_case(name))?;
    object.shift_remove(&key.clone())
}
