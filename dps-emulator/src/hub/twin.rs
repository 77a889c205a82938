//! A device twin: tags, desired and reported properties, their changes and versions.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-device-twins.md`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_types::enrollment::InitialTwin;
use dps_types::twin::limits::LimitError;
use dps_types::{ETag, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::section::{Object, Section, VERSION, change_tags, mark, without_read_only};

/// A device twin as it is stored.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Twin {
    pub(super) tags: Object,
    pub(super) desired: Section,
    pub(super) reported: Section,
    /// Counts every change. A new twin has 2.
    pub(super) version: u64,
    /// Counts the changes by the back end. The ETag of the twin is made from it.
    etag_counter: u64,
}

/// The reason for which a twin or a patch is not valid.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum TwinError {
    #[error("{0}")]
    NotAnObject(String),
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// A change of a twin by the back end. A `null` deletes.
#[derive(Default)]
pub(crate) struct TwinPatch {
    tags: Option<Value>,
    desired: Option<Value>,
}

impl TwinPatch {
    /// Reads `{"tags": {…}, "properties": {"desired": {…}}}` or a whole twin. The other members of a twin are ignored, because
    /// a back end cannot change them.
    pub(crate) fn read(document: &Value) -> Result<Self, TwinError> {
        let document = object("the twin", document)?;
        let properties = document.get("properties");
        let properties = match properties.filter(|it| !it.is_null()) {
            Some(properties) => Some(object("properties", properties)?),
            None => None,
        };
        Ok(Self {
            tags: document.get("tags").cloned(),
            desired: properties.and_then(|it| it.get("desired")).cloned(),
        })
    }

    /// A change of desired properties only.
    pub(super) fn of_desired(desired: Value) -> Self {
        Self {
            tags: None,
            desired: Some(desired),
        }
    }
}

/// The message to the device after a change of desired properties.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DesiredUpdate {
    /// The changed properties and the new `$version`.
    pub(crate) document: Value,
    pub(crate) version: u64,
}

impl Twin {
    /// The twin of a new device.
    pub(crate) fn new(initial: Option<&InitialTwin>, now: Timestamp) -> Result<Self, TwinError> {
        let tags = initial.and_then(|twin| twin.tags.as_ref());
        let desired = initial
            .and_then(|twin| twin.properties.as_ref())
            .and_then(|properties| properties.desired.as_ref());
        let mut twin = Self {
            tags: Object::new(),
            desired: Section::new(now),
            reported: Section::new(now),
            version: 2,
            etag_counter: 1,
        };
        if let Some(tags) = tags {
            change_tags(&mut twin.tags, tags.as_map())?;
        }
        if let Some(desired) = desired {
            let patch = without_read_only(desired.as_map());
            let mark = mark(now, Some(twin.desired.version));
            twin.desired.change(&patch, &mark)?;
        }
        Ok(twin)
    }

    /// Patches tags and desired properties. Returns the message to the device.
    pub(super) fn patch(
        &mut self,
        patch: &TwinPatch,
        now: Timestamp,
    ) -> Result<Option<DesiredUpdate>, TwinError> {
        if let Some(tags) = &patch.tags {
            match tags {
                Value::Null => self.tags.clear(),
                tags => change_tags(&mut self.tags, object("tags", tags)?)?,
            }
        }
        let update = match &patch.desired {
            None => None,
            Some(Value::Null) => {
                let names = self.desired.values.keys();
                let removals = names.map(|name| (name.clone(), Value::Null)).collect();
                Some(self.change_desired(&removals, now)?)
            }
            Some(desired) => {
                let desired = without_read_only(object("properties.desired", desired)?);
                Some(self.change_desired(&desired, now)?)
            }
        };
        self.count_change();
        Ok(update)
    }

    /// Replaces tags and desired properties. Returns the message to the device.
    pub(super) fn replace(
        &mut self,
        patch: &TwinPatch,
        now: Timestamp,
    ) -> Result<DesiredUpdate, TwinError> {
        self.tags.clear();
        if let Some(tags) = patch.tags.as_ref().filter(|tags| !tags.is_null()) {
            change_tags(&mut self.tags, object("tags", tags)?)?;
        }
        let desired = patch.desired.as_ref();
        let desired = match desired.filter(|desired| !desired.is_null()) {
            Some(desired) => without_read_only(object("properties.desired", desired)?),
            None => Object::new(),
        };
        let desired = with_removals(desired, &self.desired.values);
        let version = self.desired.version;
        self.desired = Section::new(now);
        self.desired.version = version;
        let update = self.change_desired(&desired, now)?;
        self.count_change();
        Ok(update)
    }

    /// Applies the device's change of its reported properties. Returns their new version.
    pub(super) fn report(&mut self, patch: &Object, now: Timestamp) -> Result<u64, TwinError> {
        self.reported.version += 1;
        let patch = without_read_only(patch);
        self.reported.change(&patch, &mark(now, None))?;
        self.version += 1;
        Ok(self.reported.version)
    }

    /// The twin as the device receives it: without tags and metadata.
    pub(super) fn for_device(&self) -> Value {
        json!({ "desired": self.desired.for_device(), "reported": self.reported.for_device() })
    }

    /// The properties as the back end receives them.
    pub(super) fn properties(&self) -> Value {
        json!({ "desired": self.desired.for_service(), "reported": self.reported.for_service() })
    }

    /// The ETag, such as `AAAAAAAAAAE=`: base64 of a counter.
    #[expect(clippy::expect_used, reason = "base64 is printable ASCII")]
    pub(super) fn etag(&self) -> ETag {
        ETag::new(STANDARD.encode(self.etag_counter.to_be_bytes())).expect("a valid ETag")
    }

    fn change_desired(
        &mut self,
        patch: &Object,
        now: Timestamp,
    ) -> Result<DesiredUpdate, TwinError> {
        self.desired.version += 1;
        let version = self.desired.version;
        self.desired.change(patch, &mark(now, Some(version)))?;
        let mut document = patch.clone();
        document.insert(VERSION.to_owned(), version.into());
        Ok(DesiredUpdate {
            document: document.into(),
            version,
        })
    }

    fn count_change(&mut self) {
        self.version += 1;
        self.etag_counter += 1;
    }
}

impl fmt::Debug for Twin {
    /// Hides the content, which may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Twin")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Adds a `null` for every member that only `before` has, so that a device that merges the message removes it.
///
/// Source: Azure/azure-iot-sdk-csharp issue 954.
fn with_removals(mut after: Object, before: &Object) -> Object {
    for (name, old) in before {
        match (after.get_mut(name), old) {
            (None, _) => drop(after.insert(name.clone(), Value::Null)),
            (Some(Value::Object(new)), Value::Object(old)) => {
                *new = with_removals(std::mem::take(new), old);
            }
            (Some(_), _) => {}
        }
    }
    after
}

fn object<'a>(name: &str, value: &'a Value) -> Result<&'a Object, TwinError> {
    value
        .as_object()
        .ok_or_else(|| TwinError::NotAnObject(format!("{name} must be an object")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2022-08-31T22:02:50Z".parse().expect("valid")
    }

    fn patch(document: Value) -> TwinPatch {
        TwinPatch::read(&document).expect("a patch")
    }

    #[test]
    fn a_new_twin_is_that_of_the_documentation() {
        let initial = InitialTwin::desired([("darkness", "medium")]).with_tags([("site", "k")]);
        let twin = Twin::new(Some(&initial), at()).expect("valid");
        assert_eq!(
            twin.for_device(),
            json!({ "desired": { "darkness": "medium", "$version": 1 }, "reported": { "$version": 1 } })
        );
        assert_eq!(
            twin.properties(),
            json!({
                "desired": {
                    "darkness": "medium",
                    "$metadata": {
                        "$lastUpdated": "2022-08-31T22:02:50Z",
                        "$lastUpdatedVersion": 1,
                        "darkness": { "$lastUpdated": "2022-08-31T22:02:50Z", "$lastUpdatedVersion": 1 },
                    },
                    "$version": 1,
                },
                "reported": { "$metadata": { "$lastUpdated": "2022-08-31T22:02:50Z" }, "$version": 1 },
            })
        );
        assert_eq!((twin.version, twin.etag().as_str()), (2, "AAAAAAAAAAE="));
    }

    #[test]
    fn a_patch_merges_replaces_and_deletes() {
        let mut twin = Twin::new(None, at()).expect("valid");
        let first = json!({ "tags": { "a": { "b": 1, "c": 2 }, "d": 3 }, "properties": { "desired": { "x": { "y": 1 } } } });
        twin.patch(&patch(first), at()).expect("valid");
        let second = json!({ "tags": { "a": { "b": null, "e": {} }, "d": { "f": 4 } }, "properties": { "desired": { "x": 5, "z": null } } });
        let update = twin.patch(&patch(second), at()).expect("valid");
        assert_eq!(
            Value::from(twin.tags.clone()),
            json!({ "a": { "c": 2, "e": {} }, "d": { "f": 4 } })
        );
        assert_eq!(
            update.expect("desired changed").document,
            json!({ "x": 5, "z": null, "$version": 3 })
        );
        assert_eq!(
            twin.for_device()["desired"],
            json!({ "x": 5, "$version": 3 })
        );
        assert_eq!((twin.version, twin.etag().as_str()), (4, "AAAAAAAAAAM="));
    }

    #[test]
    fn null_sections_are_emptied_and_absent_ones_stay() {
        let initial = InitialTwin::desired([("x", 1)]).with_tags([("t", 1)]);
        let mut twin = Twin::new(Some(&initial), at()).expect("valid");
        assert_eq!(twin.patch(&patch(json!({})), at()).expect("valid"), None);
        assert_eq!(twin.tags.len(), 1);
        twin.patch(&patch(json!({ "tags": null })), at())
            .expect("valid");
        assert_eq!((twin.tags.len(), twin.desired.values.len()), (0, 1));
        let update = twin.patch(&patch(json!({ "properties": { "desired": null } })), at());
        assert_eq!(
            update.expect("valid").expect("a change").document,
            json!({ "x": null, "$version": 2 })
        );
        assert!(twin.desired.values.is_empty());
    }

    #[test]
    fn a_replacement_removes_all_fields_and_ignores_those_of_the_hub() {
        let initial = InitialTwin::desired([("x", json!(1)), ("z", json!({ "a": 1, "b": 2 }))]);
        let initial = initial.with_tags([("t", 1)]);
        let mut twin = Twin::new(Some(&initial), at()).expect("valid");
        let new = json!({ "properties": {
            "desired": { "y": 2, "z": { "b": 3 }, "$version": 77, "$metadata": {} },
        } });
        let update = twin.replace(&patch(new), at()).expect("valid");
        assert_eq!(
            twin.for_device()["desired"],
            json!({ "y": 2, "z": { "b": 3 }, "$version": 2 })
        );
        // The device merges the update into its own copy.
        assert_eq!(
            update.document,
            json!({ "y": 2, "z": { "b": 3, "a": null }, "x": null, "$version": 2 })
        );
        assert!(twin.tags.is_empty());
    }

    #[test]
    fn reported_properties_do_not_change_the_etag() {
        let mut twin = Twin::new(None, at()).expect("valid");
        let patch = json!({ "t": 21, "gone": null });
        let version = twin.report(patch.as_object().expect("object"), at());
        assert_eq!(version.expect("valid"), 2);
        assert_eq!(
            twin.for_device()["reported"],
            json!({ "t": 21, "$version": 2 })
        );
        assert_eq!((twin.version, twin.etag().as_str()), (3, "AAAAAAAAAAE="));
    }

    /// Otherwise a patch could delete the metadata that the hub adds.
    #[test]
    fn a_patch_that_deletes_a_name_that_is_not_valid_is_refused() {
        for name in [
            "$lastUpdated",
            "$lastUpdatedVersion",
            "$a",
            "a.b",
            "a b",
            "",
        ] {
            for document in [json!({ name: null }), json!({ "x": { name: null } })] {
                let desired = patch(json!({ "properties": { "desired": document } }));
                let tags = patch(json!({ "tags": document }));
                let reported = document.as_object().expect("an object");
                let mut twin = Twin::new(None, at()).expect("valid");
                for refused in [
                    twin.clone().patch(&desired, at()).err(),
                    twin.clone().replace(&desired, at()).err(),
                    twin.clone().patch(&tags, at()).err(),
                    twin.clone().replace(&tags, at()).err(),
                    twin.report(reported, at()).err(),
                ] {
                    let message = refused.expect("refused").to_string();
                    assert!(message.contains("a name"), "{message}");
                }
                let initial = json!({ "properties": { "desired": document } });
                let initial: InitialTwin = serde_json::from_value(initial).expect("readable");
                assert!(Twin::new(Some(&initial), at()).is_err());
                let initial = json!({ "tags": document });
                let initial: InitialTwin = serde_json::from_value(initial).expect("readable");
                assert!(Twin::new(Some(&initial), at()).is_err());
            }
        }
    }

    #[test]
    fn a_patch_may_delete_the_fields_of_the_hub_without_effect() {
        let mut twin = Twin::new(None, at()).expect("valid");
        let deleted = json!({ "a": 1, "$version": null, "$metadata": null });
        let desired = patch(json!({ "properties": { "desired": deleted } }));
        twin.patch(&desired, at()).expect("valid");
        twin.replace(&desired, at()).expect("valid");
        twin.report(deleted.as_object().expect("an object"), at())
            .expect("valid");
        let sections = twin.properties();
        for section in ["desired", "reported"] {
            assert_eq!(sections[section]["a"], 1);
            assert_eq!(sections[section]["$metadata"]["$lastUpdated"], json!(at()));
        }
        assert_eq!(sections["desired"]["$version"], 3);
    }
}
