//! The limits of reported properties, checked before anything is sent.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-device-twins.md`.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};

/// All reported properties together, in bytes as the hub counts them.
const MAX_SIZE: usize = 32 * 1024;
const MAX_NAME: usize = 1024;
const MAX_TEXT: usize = 4 * 1024;
/// How many objects may be in one another. The properties themselves are in none.
const MAX_DEPTH: usize = 10;
const INTEGERS: std::ops::RangeInclusive<i64> = -4_503_599_627_370_496..=4_503_599_627_370_495;

/// Encodes a patch of the reported properties.
///
/// # Errors
/// `Rejected` if the hub would not accept it.
pub(super) fn encode(patch: &Value) -> Result<Vec<u8>, Error> {
    let Value::Object(properties) = patch else {
        return Err(refused("the patch is not a JSON object"));
    };
    if size_of_all(properties, 0)? > MAX_SIZE {
        return Err(refused("the properties are larger than 32 KiB"));
    }
    Ok(patch.to_string().into_bytes())
}

fn size_of_all(properties: &Map<String, Value>, depth: usize) -> Result<usize, Error> {
    if depth > MAX_DEPTH {
        return Err(refused("objects are nested more than 10 deep"));
    }
    let mut size = 0;
    for (name, value) in properties {
        check_name(name)?;
        size += name.len() + size_of(value, depth)?;
    }
    Ok(size)
}

fn size_of(value: &Value, depth: usize) -> Result<usize, Error> {
    match value {
        Value::Null => Ok(0),
        Value::Bool(_) => Ok(4),
        Value::Number(number) => {
            let in_range = match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => INTEGERS.contains(&number),
                (None, large) => large.is_none(),
            };
            match in_range {
                true => Ok(8),
                false => Err(refused("an integer has more than 53 bits")),
            }
        }
        Value::String(text) if text.len() > MAX_TEXT => Err(refused("a text is longer than 4 KiB")),
        // Control characters do not count.
        Value::String(text) => Ok(text
            .chars()
            .filter(|c| !c.is_control())
            .map(char::len_utf8)
            .sum()),
        Value::Array(values) => values.iter().map(|value| size_of(value, depth)).sum(),
        Value::Object(properties) => size_of_all(properties, depth + 1),
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.len() > MAX_NAME {
        return Err(refused("a name is longer than 1 KiB"));
    }
    if name.contains(|c: char| c.is_control() || matches!(c, '.' | '$' | ' ')) {
        return Err(refused("a name has a '.', '$', space or control character"));
    }
    Ok(())
}

fn refused(why: &'static str) -> Error {
    Error::new(
        ErrorKind::Rejected,
        format!("the hub would refuse the reported properties: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn is_refused(properties: Value, because: &str) {
        let error = encode(&properties).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().contains(because), "{error}");
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!("deepest"), |inside, _| json!({ "in": inside }))
    }

    #[test]
    fn what_a_hub_takes_goes_out_as_it_is() {
        let properties = json!({"a": null, "b-c": [1, {"d": 2.5}], "Grüße": "é", "e": true});
        assert_eq!(
            encode(&properties).unwrap(),
            r#"{"a":null,"b-c":[1,{"d":2.5}],"Grüße":"é","e":true}"#.as_bytes()
        );
        assert!(encode(&json!({"n": 4_503_599_627_370_495_i64})).is_ok());
        assert!(encode(&json!({"t": "x".repeat(4096)})).is_ok());
        // The properties, and ten objects in one another, as in the documentation.
        assert!(encode(&nested(11)).is_ok());
    }

    #[test]
    fn what_a_hub_refuses_is_not_sent() {
        is_refused(json!([1]), "not a JSON object");
        is_refused(nested(12), "10 deep");
        for name in ["a.b", "$a", "a b", "a\n", "a\u{85}"] {
            is_refused(json!({"in": {name: 1}}), "a name has");
        }
        is_refused(json!({"x".repeat(1025): 1}), "1 KiB");
        is_refused(json!({"t": "x".repeat(4097)}), "4 KiB");
        is_refused(json!({"n": 4_503_599_627_370_496_i64}), "53 bits");
        is_refused(json!({"n": u64::MAX}), "53 bits");
        let many: Map<_, _> = (0..9)
            .map(|n| (n.to_string(), json!("x".repeat(4000))))
            .collect();
        is_refused(many.into(), "32 KiB");
    }
}
