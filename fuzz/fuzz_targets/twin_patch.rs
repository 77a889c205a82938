//! Changes of a twin, against a merge patch of RFC 7396: the hub, and a device that merges what the hub sends, have the same
//! properties.
#![no_main]

mod json;

use dps_device::{Twin, TwinProperties};
use dps_emulator::fuzzing::TwinModel;
use dps_types::enrollment::InitialTwin;
use json::Json;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

/// The members that the hub adds to the properties.
const READ_ONLY: [&str; 2] = ["$version", "$metadata"];

fuzz_target!(|input: (Option<Json>, Vec<(u8, Option<Json>, Option<Json>)>)| {
    let (initial, changes) = input;
    let initial = initial.and_then(|Json(it)| serde_json::from_value::<InitialTwin>(it).ok());
    let Some(mut hub) = TwinModel::new(initial.as_ref()) else {
        return;
    };
    let mut tags = hub.tags();
    let mut desired = properties(&hub, "desired");
    let mut reported = properties(&hub, "reported");
    let mut device: Twin = serde_json::from_value(hub.for_device()).expect("a device reads its twin");

    for (kind, first, second) in changes.into_iter().take(8) {
        let [first, second] = [first, second].map(|it| it.map(|Json(it)| it));
        let mut document = json!({ "properties": {} });
        if let Some(tags) = &first {
            document["tags"] = tags.clone();
        }
        if let Some(desired) = &second {
            document["properties"]["desired"] = desired.clone();
        }
        let update = match kind % 3 {
            0 => {
                let Some(update) = hub.patch(&document) else {
                    continue;
                };
                if let Some(patch) = first {
                    tags = section(tags, patch);
                }
                if let Some(patch) = second {
                    desired = section(desired, patch);
                }
                update
            }
            1 => {
                let Some(update) = hub.replace(&document) else {
                    continue;
                };
                tags = section(json!({}), first.unwrap_or_default());
                desired = section(json!({}), second.unwrap_or_default());
                Some(update)
            }
            _ => {
                let patch = second.unwrap_or_default();
                let before = device.reported.version();
                if let Some(version) = hub.report(&patch) {
                    assert_eq!(version, before + 1);
                    reported = section(reported, patch);
                }
                None
            }
        };
        if let Some(update) = update {
            let update: TwinProperties = serde_json::from_value(update).expect("a device reads its change");
            device.desired.merge(&update);
        }
        let read: Twin = serde_json::from_value(hub.for_device()).expect("a device reads its twin");
        device.reported = read.reported.clone();
        assert!(device == read, "the device has the properties of the hub");
        assert_eq!(hub.tags(), tags);
        assert_eq!(properties(&hub, "desired"), desired);
        assert_eq!(properties(&hub, "reported"), reported);
        for section in ["desired", "reported"] {
            let shown = &hub.for_back_end()[section];
            check_metadata(&without_read_only(shown.clone()), &shown["$metadata"]);
        }
    }
});

/// The properties of a section without the members of the hub.
fn properties(hub: &TwinModel, section: &str) -> Value {
    without_read_only(hub.for_device()[section].clone())
}

fn without_read_only(mut section: Value) -> Value {
    if let Value::Object(members) = &mut section {
        members.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
    }
    section
}

/// A section after a patch; `null` empties it.
fn section(before: Value, patch: Value) -> Value {
    match patch {
        Value::Null => json!({}),
        patch => merge_patch(before, without_read_only(patch)),
    }
}

/// RFC 7396, section 2.
fn merge_patch(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    let mut merged = match target {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for (name, value) in patch {
        let before = merged.remove(&name).unwrap_or_default();
        if !value.is_null() {
            merged.insert(name, merge_patch(before, value));
        }
    }
    merged.into()
}

/// Every property has a time, and nothing else has one.
fn check_metadata(values: &Value, metadata: &Value) {
    assert!(metadata["$lastUpdated"].is_string(), "{metadata}");
    let names = |value: &Value| -> Vec<String> {
        let members = value.as_object().into_iter().flatten();
        let mut names: Vec<String> = members.map(|(name, _)| name.clone()).collect();
        names.retain(|name| !name.starts_with("$lastUpdated"));
        names.sort();
        names
    };
    let found = names(values);
    assert_eq!(found, names(metadata), "{values} {metadata}");
    for name in found {
        check_metadata(&values[&name], &metadata[&name]);
    }
}
