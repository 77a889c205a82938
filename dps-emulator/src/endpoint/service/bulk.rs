//! Many enrollments in one request: each succeeds or fails alone, and what succeeded stays.

use std::collections::HashSet;

use ::http::StatusCode;
use dps_types::BulkOperationMode;
use dps_types::protocol::IfMatch;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::super::reply::Reply;
use super::Service;
use crate::service_error::ServiceError;
use crate::state::{Document, read_document};

/// The most items in a request. Source: the documentation of the official SDKs.
const MOST_ITEMS: usize = 10;

impl Service<'_> {
    pub(super) async fn bulk<D: Document>(&self) -> Result<Reply, ServiceError> {
        let operation = Operation::read::<D>(self.call.json()?)?;
        let works = operation
            .items
            .iter()
            .map(|item| self.item::<D>(item, &operation.mode));
        let outcomes = if operation.has_duplicates() {
            let mut outcomes = Vec::new();
            for work in works {
                outcomes.push(work.await);
            }
            outcomes
        } else {
            // Together, so that a store that syncs does so for all at once.
            join_all(works).await
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
                let mut document: D = read_document(item.document.clone().into())?;
                document.forget_read_only();
                self.state
                    .put_enrollment(document, condition.as_ref(), &self.hubs)
                    .await
                    .map(drop)
            }
        }
    }
}

/// What is to be done, and with what. Nothing is done when this cannot be read.
struct Operation {
    items: Vec<Item>,
    mode: BulkOperationMode,
}

/// An enrollment, or what should be one.
struct Item {
    id: String,
    document: Map<String, Value>,
}

impl Operation {
    fn read<D: Document>(mut body: Map<String, Value>) -> Result<Self, ServiceError> {
        let mode = match take(&mut body, "mode") {
            Some(Value::String(mode)) => BulkOperationMode::from(mode),
            _ => return Err(ServiceError::invalid("mode is missing")),
        };
        if let BulkOperationMode::Unknown(mode) = &mode {
            return Err(ServiceError::invalid(format!(
                "The mode '{mode}' is not known."
            )));
        }
        let Some(Value::Array(items)) = take(&mut body, D::LIST_FIELD) else {
            return Err(ServiceError::invalid(format!(
                "{} is missing",
                D::LIST_FIELD
            )));
        };
        if items.is_empty() || items.len() > MOST_ITEMS {
            return Err(ServiceError::invalid(format!(
                "A bulk operation takes 1 to {MOST_ITEMS} items, not {}.",
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

    /// Whether an item can meet what an earlier one has done.
    fn has_duplicates(&self) -> bool {
        let mut seen = HashSet::new();
        !self.items.iter().all(|item| seen.insert(item.key()))
    }
}

impl Item {
    /// Without an id there is no name to report a failure under.
    fn read<D: Document>(item: Value) -> Result<Self, ServiceError> {
        let missing = || ServiceError::invalid(format!("an item has no {}", D::ID_FIELD));
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

    /// The version that the item is about, when it says so.
    fn condition(&self) -> Result<Option<IfMatch>, ServiceError> {
        match field(&self.document, "etag") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(etag)) => Ok(Some(etag.parse()?)),
            Some(_) => Err(ServiceError::invalid("etag: expected a string")),
        }
    }

    /// The service names the item by the field that its id has.
    fn error<D: Document>(&self, refusal: &ServiceError) -> Value {
        json!({
            D::ID_FIELD: self.id,
            "errorCode": refusal.code(),
            "errorStatus": refusal.message(),
        })
    }
}

/// A field, in whatever case it is written.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut fields = object.iter();
    fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

fn take(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = object.keys().find(|key| key.eq_ignore_ascii_case(name))?;
    object.shift_remove(&key.clone())
}
