//! A section of a twin: its values, the time of each change, and its version.

use dps_types::Timestamp;
use dps_types::twin::limits::{LimitError, check_properties, check_tags};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) type Object = Map<String, Value>;

pub(super) const VERSION: &str = "$version";
const METADATA: &str = "$metadata";
pub(super) const LAST_UPDATED: &str = "$lastUpdated";
pub(super) const LAST_UPDATED_VERSION: &str = "$lastUpdatedVersion";

/// Desired or reported properties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Section {
    pub(super) values: Object,
    pub(super) metadata: Object,
    pub(super) version: u64,
}

impl Section {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            values: Object::new(),
            metadata: mark(now, None),
            version: 1,
        }
    }

    /// Merges the patch into the values.
    pub(super) fn change(&mut self, patch: &Object, mark: &Object) -> Result<(), LimitError> {
        check_patch(patch)?;
        merge(&mut self.values, patch);
        check_properties(&self.values)?;
        update_metadata(&mut self.metadata, patch, mark);
        Ok(())
    }

    /// The section as the device receives it.
    pub(super) fn for_device(&self) -> Object {
        let mut values = self.values.clone();
        values.insert(VERSION.to_owned(), self.version.into());
        values
    }

    /// The section as the back end receives it.
    pub(super) fn for_service(&self) -> Object {
        let mut values = self.values.clone();
        values.insert(METADATA.to_owned(), self.metadata.clone().into());
        values.insert(VERSION.to_owned(), self.version.into());
        values
    }
}

/// Removes the members that only the hub writes. A client that reads, changes and writes a twin sends them back.
pub(super) fn without_read_only(patch: &Object) -> Object {
    let mut patch = patch.clone();
    for name in [VERSION, METADATA] {
        patch.shift_remove(name);
    }
    patch
}

/// Merges the patch into the tags.
pub(super) fn change_tags(tags: &mut Object, patch: &Object) -> Result<(), LimitError> {
    check_patch(patch)?;
    merge(tags, patch);
    check_tags(tags)
}

/// Checks the names of a patch, also of the members that it deletes: `$lastUpdated` would be deleted from the metadata. The size
/// is checked after the change.
fn check_patch(patch: &Object) -> Result<(), LimitError> {
    match check_properties(patch) {
        Err(error) if !error.is_size() => Err(error),
        _ => Ok(()),
    }
}

/// Merges the patch into the target: `null` deletes a member, objects are merged, any other value replaces the old one.
fn merge(target: &mut Object, patch: &Object) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.shift_remove(name)),
            Value::Object(inner) => {
                let slot = target.entry(name.clone()).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Object::new().into();
                }
                if let Value::Object(slot) = slot {
                    merge(slot, inner);
                }
            }
            value => drop(target.insert(name.clone(), value.clone())),
        }
    }
}

/// Records the time of each change, in a tree with the shape of the patch.
fn update_metadata(metadata: &mut Object, patch: &Object, mark: &Object) {
    metadata.extend(mark.clone());
    for (name, value) in patch {
        match value {
            Value::Null => drop(metadata.shift_remove(name)),
            Value::Object(inner) => {
                let slot = metadata
                    .entry(name.clone())
                    .or_insert_with(|| Object::new().into());
                if let Value::Object(slot) = slot {
                    update_metadata(slot, inner, mark);
                }
            }
            _ => drop(metadata.insert(name.clone(), mark.clone().into())),
        }
    }
}

/// The metadata of a change.
pub(super) fn mark(now: Timestamp, version: Option<u64>) -> Object {
    let mut mark = Object::new();
    mark.insert(LAST_UPDATED.to_owned(), json!(now));
    if let Some(version) = version {
        mark.insert(LAST_UPDATED_VERSION.to_owned(), version.into());
    }
    mark
}
