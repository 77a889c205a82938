//! Fields of an enrollment by their path: `--set`, and the columns of a CSV file.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Result};

/// The columns that `export` writes. `import` accepts every path.
pub(super) const COLUMNS: &[&str] = &[
    "attestation.type",
    "attestation.symmetricKey.primaryKey",
    "attestation.symmetricKey.secondaryKey",
    "attestation.tpm.endorsementKey",
    "attestation.x509",
    "provisioningStatus",
    "allocationPolicy",
    "iotHubs",
    "customAllocationDefinition",
    "reprovisionPolicy.updateHubAssignment",
    "reprovisionPolicy.migrateDeviceData",
    "capabilities.iotEdge",
    "initialTwin",
    "namespaceName",
    "certificateAuthorityName",
    "certificatePolicyName",
    "etag",
];

/// The deepest path.
const MAX_PARTS: usize = 32;

/// Sets a field. An empty part of a path is an error.
pub(super) fn set(document: &mut Map<String, Value>, path: &str, value: Value) -> Result {
    let parts: Vec<&str> = path.split('.').collect();
    let is_valid = parts.len() <= MAX_PARTS && parts.iter().all(|part| !part.is_empty());
    let Some((last, parents)) = parts.split_last().filter(|_| is_valid) else {
        return Err(Failure::usage(format!(
            "{path} is not a valid path of a field, such as initialTwin.tags.model"
        )));
    };
    let mut object = document;
    for part in parents {
        let child = object.entry(*part).or_insert_with(|| json!({}));
        if child.is_null() {
            *child = json!({});
        }
        object = child
            .as_object_mut()
            .ok_or_else(|| Failure::usage(format!("{path}: {part} is not a JSON object")))?;
    }
    object.insert((*last).to_owned(), value);
    Ok(())
}

/// Removes a field. Returns false if it does not exist.
pub(super) fn unset(document: &mut Map<String, Value>, path: &str) -> bool {
    match path.split_once('.') {
        None => document.remove(path).is_some(),
        Some((first, rest)) => match document.get_mut(first) {
            Some(Value::Object(child)) => unset(child, rest),
            _ => false,
        },
    }
}

/// The value of a field as text. JSON is read where a field can be something other than a text: the initial twin, objects,
/// booleans, and the list of hubs, which may also be separated by semicolons.
pub(super) fn parse(path: &str, text: &str) -> Value {
    let json = || serde_json::from_str(text).ok();
    let first = path.split('.').next().unwrap_or_default();
    match first {
        "initialTwin" | "capabilities" | "reprovisionPolicy" => json(),
        "iotHubs" => Some(json().unwrap_or_else(|| text.split(';').map(str::trim).collect())),
        _ => json().filter(Value::is_object),
    }
    .unwrap_or_else(|| text.into())
}

/// The value of a field as the cell of a CSV file. The inverse of [`parse`].
pub(super) fn cell(document: &Value, path: &str) -> String {
    let pointer = format!("/{}", path.replace('.', "/"));
    match document.pointer(&pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(";"),
        Some(other) => other.to_string(),
    }
}

/// The document as an object, to change its fields.
pub(super) fn fields(document: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(document)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(Failure::usage("the document is not a JSON object")),
    }
}

/// The object as a document.
pub(super) fn typed<D: DeserializeOwned>(fields: Map<String, Value>) -> Result<D> {
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| Failure::usage(format!("the enrollment is not valid: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_creates_the_objects_on_its_way() {
        let mut document = Map::new();
        set(&mut document, "initialTwin.tags.model", json!("t1")).unwrap();
        set(&mut document, "initialTwin.tags.year", json!(2026)).unwrap();
        assert_eq!(
            Value::Object(document.clone()),
            json!({"initialTwin": {"tags": {"model": "t1", "year": 2026}}})
        );
        assert!(unset(&mut document, "initialTwin.tags.model"));
        assert!(!unset(&mut document, "initialTwin.tags.model"));
        assert!(set(&mut document, "initialTwin..x", json!(1)).is_err());
        assert!(set(&mut document, "initialTwin.tags.year.x", json!(1)).is_err());
    }

    #[test]
    fn a_registration_id_of_digits_stays_a_text_and_twin_values_are_json() {
        assert_eq!(parse("registrationId", "0042"), json!("0042"));
        assert_eq!(parse("deviceId", "true"), json!("true"));
        assert_eq!(parse("initialTwin.tags.year", "2026"), json!(2026));
        assert_eq!(parse("initialTwin.tags.model", "t1"), json!("t1"));
        assert_eq!(parse("capabilities.iotEdge", "true"), json!(true));
        assert_eq!(
            parse("iotHubs", "a.example;b.example"),
            json!(["a.example", "b.example"])
        );
        assert_eq!(parse("attestation.x509", "{\"a\":1}"), json!({"a": 1}));
    }

    #[test]
    fn a_cell_is_read_back_as_it_was() {
        let document = json!({
            "iotHubs": ["a", "b"], "capabilities": {"iotEdge": true}, "initialTwin": {"tags": {"a": 1}},
            "deviceId": "7",
        });
        for path in ["iotHubs", "capabilities.iotEdge", "initialTwin", "deviceId"] {
            let pointer = format!("/{}", path.replace('.', "/"));
            assert_eq!(
                &parse(path, &cell(&document, path)),
                document.pointer(&pointer).unwrap(),
                "{path}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_value_and_any_path_is_set_or_refused(path in ".{0,40}", text in ".{0,40}") {
            let mut fields = Map::new();
            let value = parse(&path, &text);
            if set(&mut fields, &path, value.clone()).is_ok() {
                assert!(unset(&mut fields, &path));
            }
        }

        #[test]
        fn a_text_in_a_cell_is_read_back(text in "[a-zA-Z0-9_:. -]{1,40}") {
            let document = json!({"registrationId": text});
            assert_eq!(parse("registrationId", &cell(&document, "registrationId")), json!(text));
        }
    }
}
