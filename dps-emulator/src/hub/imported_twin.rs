//! The twin of a device from an import: it may be invalid, or be of an earlier version.

use dps_types::Timestamp;
use dps_types::twin::limits::{check_properties, check_tags};
use serde_json::{Value, json};

use super::device::Device;
use super::section::{LAST_UPDATED, LAST_UPDATED_VERSION, Object, Section};
use super::twin::Twin;

impl Device {
    /// Whether the twin is one that a hub makes.
    pub(crate) fn has_valid_twin(&self) -> bool {
        self.twin.is_valid()
    }

    /// Adds the times that the metadata of the twin lacks, because a patch could delete them in earlier versions. The time of a
    /// property is that of the object around it, and this time if no object has one.
    pub(crate) fn restore_twin_times(&mut self, now: Timestamp) {
        for section in [&mut self.twin.desired, &mut self.twin.reported] {
            restore_times(&mut section.metadata, &json!(now));
        }
    }
}

impl Twin {
    pub(super) fn is_valid(&self) -> bool {
        check_tags(&self.tags).is_ok() && is_valid(&self.desired) && is_valid(&self.reported)
    }
}

/// Whether the values are within the limits of properties, and the metadata has the time of each property and nothing else.
fn is_valid(section: &Section) -> bool {
    check_properties(&section.values).is_ok() && has_times(&section.metadata, &section.values)
}

/// Whether the metadata has a time for each of these values, and nothing else.
fn has_times(metadata: &Object, values: &Object) -> bool {
    let is_time = |name: &str| [LAST_UPDATED, LAST_UPDATED_VERSION].contains(&name);
    let time = metadata.get(LAST_UPDATED).and_then(Value::as_str);
    let version = metadata.get(LAST_UPDATED_VERSION);
    time.is_some_and(|time| time.parse::<Timestamp>().is_ok())
        && version.is_none_or(Value::is_u64)
        && metadata
            .keys()
            .all(|name| is_time(name) || values.contains_key(name))
        && values.iter().all(|(name, value)| {
            let inner = value.as_object();
            let metadata = metadata.get(name).and_then(Value::as_object);
            metadata.is_some_and(|it| has_times(it, inner.unwrap_or(&Object::new())))
        })
}

/// Adds the time of the object around it to metadata without a time.
fn restore_times(metadata: &mut Object, outer: &Value) {
    let time = metadata
        .entry(LAST_UPDATED)
        .or_insert_with(|| outer.clone())
        .clone();
    for inner in metadata.values_mut().filter_map(Value::as_object_mut) {
        restore_times(inner, &time);
    }
}

#[cfg(test)]
mod tests {
    use dps_types::enrollment::InitialTwin;

    use super::*;

    #[test]
    fn a_stored_twin_is_valid_if_its_metadata_has_the_time_of_each_property() {
        let now = "2022-08-31T22:02:50Z".parse().expect("valid");
        let initial = InitialTwin::desired([("a", json!({ "b": [1] }))]);
        let twin = Twin::new(Some(&initial), now).expect("valid");
        assert!(twin.is_valid());
        let stored = serde_json::to_value(&twin).expect("JSON");
        for (place, value) in [
            ("/desired/metadata/$lastUpdated", json!("now")),
            ("/desired/metadata/$lastUpdatedVersion", json!(-1)),
            ("/desired/metadata/a/$lastUpdated", json!(null)),
            ("/desired/metadata/a", json!({})),
            ("/desired/metadata/a/b", json!(1)),
            ("/desired/metadata", json!({})),
            ("/desired/values", json!({})),
            ("/desired/values/a", json!(1)),
            ("/desired/values", json!({ "$version": 1 })),
            ("/reported/metadata", json!({})),
            ("/reported/values", json!({ "a": 1 })),
            ("/tags", json!({ "a.b": 1 })),
        ] {
            let mut changed = stored.clone();
            *changed.pointer_mut(place).expect("it exists") = value;
            let changed: Twin = serde_json::from_value(changed).expect("readable");
            assert!(!changed.is_valid(), "{place}");
        }
    }
}
