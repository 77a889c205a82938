//! Compares two answers, except for values that differ each time: times, versions, keys, thumbprints.

use serde_json::{Map, Value};

use crate::common::{Answer, assert_etag, assert_timestamp, names};

/// Headers that matter to a client. `Content-Length` is not compared, because the emulator frames bodies in another way.
const HEADERS: [&str; 6] = [
    "content-type",
    "strict-transport-security",
    "x-content-type-options",
    "x-ms-item-type",
    "x-ms-continuation",
    "x-ms-error-code",
];

pub(super) fn assert_same(what: &str, recorded: &Value, answer: &Answer) {
    assert_eq!(recorded["status"], answer.status, "{what}: {answer:?}");
    let headers = recorded["responseHeaders"].as_object().expect("headers");
    for name in HEADERS {
        let recorded = headers
            .iter()
            .find(|(recorded, _)| recorded.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str().expect("text"));
        assert_eq!(answer.header(name), recorded, "{what}: {name}");
    }
    match &recorded["responseBody"] {
        Value::Null => assert_eq!(answer.text, "", "{what}"),
        body => assert_alike(what, body, &answer.json()),
    }
}

fn assert_alike(at: &str, recorded: &Value, ours: &Value) {
    match (recorded, ours) {
        (Value::Object(fields), Value::Object(found)) => {
            if !fields.contains_key("...") {
                assert_eq!(names(ours), names(recorded), "{at}: fields and their order");
            }
            for (name, recorded) in fields.iter().filter(|(name, _)| *name != "...") {
                assert_field(at, name, recorded, &found[name]);
            }
            assert_times(at, fields, found);
        }
        (Value::Array(items), Value::Array(found)) => {
            assert_eq!(found.len(), items.len(), "{at}: {ours}");
            for (recorded, ours) in items.iter().zip(found) {
                assert_alike(at, recorded, ours);
            }
        }
        _ => assert_eq!(ours, recorded, "{at}"),
    }
}

fn assert_field(at: &str, name: &str, recorded: &Value, ours: &Value) {
    let at = format!("{at}.{name}");
    match name {
        "etag" => assert_etag(ours),
        "createdDateTimeUtc" | "lastUpdatedDateTimeUtc" => assert_timestamp(ours),
        "notBeforeUtc" | "notAfterUtc" => {
            // Without a fraction, as recorded.
            assert_eq!(
                ours.as_str().map(str::len),
                recorded.as_str().map(str::len),
                "{at}"
            );
        }
        "primaryKey" | "secondaryKey" | "sha1Thumbprint" | "sha256Thumbprint" | "serialNumber" => {
            assert!(ours.as_str().is_some_and(|text| !text.is_empty()), "{at}");
        }
        _ => assert_alike(&at, recorded, ours),
    }
}

/// A value that was new is new here, and a value that was changed is changed.
fn assert_times(at: &str, recorded: &Map<String, Value>, ours: &Map<String, Value>) {
    let is_new = |document: &Map<String, Value>| {
        Some(document.get("createdDateTimeUtc")? == document.get("lastUpdatedDateTimeUtc")?)
    };
    if let Some(was_new) = is_new(recorded) {
        assert_eq!(
            is_new(ours),
            Some(was_new),
            "{at}: created and last updated"
        );
    }
}
