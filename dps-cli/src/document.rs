//! Adds members to JSON documents.

use serde_json::Value;

/// Adds a member to a JSON object, or replaces it. Another value than an object is not changed.
pub(crate) fn add(document: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(members) = document.as_object_mut() {
        members.insert(name.to_owned(), value.into());
    }
}
