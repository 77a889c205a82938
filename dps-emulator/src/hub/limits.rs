//! What a twin may hold: names, values, depth and size.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-device-twins.md`, tags and properties format, device twin size.

use serde_json::{Number, Value};

use super::section::Object;

const MAX_TAGS: usize = 8 * 1024;
const MAX_PROPERTIES: usize = 32 * 1024;
const MAX_DEPTH: usize = 10;
const MAX_NAME: usize = 1024;
const MAX_TEXT: usize = 4 * 1024;
const INTEGERS: std::ops::RangeInclusive<i64> = -4_503_599_627_370_496..=4_503_599_627_370_495;

/// Why a twin cannot be so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct LimitError {
    message: String,
    pub(super) is_size: bool,
}

impl LimitError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_size: false,
        }
    }
}

pub(super) fn tags(tags: &Object) -> Result<(), LimitError> {
    check(tags, MAX_TAGS)
}

/// Desired or reported properties.
pub(super) fn properties(values: &Object) -> Result<(), LimitError> {
    check(values, MAX_PROPERTIES)
}

fn check(values: &Object, limit: usize) -> Result<(), LimitError> {
    match size_of_object(values, 0)? {
        size if size > limit => Err(LimitError {
            message: format!("the section has {size} bytes, and {limit} are allowed"),
            is_size: true,
        }),
        _ => Ok(()),
    }
}

/// The size as the documentation counts it, if everything in it is allowed.
fn size_of_object(object: &Object, depth: usize) -> Result<usize, LimitError> {
    if depth > MAX_DEPTH {
        return Err(LimitError::invalid(format!(
            "objects are nested more than {MAX_DEPTH} levels deep"
        )));
    }
    let mut size = 0;
    for (name, value) in object {
        let wrong = |c: char| c.is_control() || matches!(c, '.' | '$' | ' ');
        if name.is_empty() || name.len() > MAX_NAME || name.contains(wrong) {
            return Err(LimitError::invalid(
                "a name is empty, longer than 1 KB, or has a control character, '.', '$' or a space",
            ));
        }
        size += name.len() + size_of(value, depth)?;
    }
    Ok(size)
}

fn size_of(value: &Value, depth: usize) -> Result<usize, LimitError> {
    match value {
        Value::Null => Ok(0),
        Value::Bool(_) => Ok(4),
        Value::Number(number) if is_in_range(number) => Ok(8),
        Value::Number(_) => Err(LimitError::invalid(
            "an integer is not between -4503599627370496 and 4503599627370495",
        )),
        Value::String(text) if text.len() > MAX_TEXT => {
            Err(LimitError::invalid("a text is longer than 4 KB"))
        }
        Value::String(text) => Ok(text
            .chars()
            .filter(|c| !c.is_control())
            .map(char::len_utf8)
            .sum()),
        Value::Array(items) => items.iter().map(|item| size_of(item, depth)).sum(),
        Value::Object(object) => size_of_object(object, depth + 1),
    }
}

fn is_in_range(number: &Number) -> bool {
    match number.as_i64() {
        Some(integer) => INTEGERS.contains(&integer),
        None => number.is_f64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(value: Value) -> Result<(), LimitError> {
        properties(value.as_object().expect("an object"))
    }

    /// Objects in one another, as many as this, below the section.
    fn nested(levels: usize) -> Value {
        (0..levels).fold(
            json!({ "property": "value" }),
            |inner, _| json!({ "x": inner }),
        )
    }

    #[test]
    fn ten_levels_are_allowed_and_eleven_are_not() {
        assert_eq!(checked(nested(10)), Ok(()));
        assert!(checked(nested(11)).is_err());
        assert!(checked(json!({ "list": [nested(10)] })).is_err());
    }

    #[test]
    fn sizes_are_counted_as_documented() {
        let of = |length: usize| {
            // "a" and 8 texts of up to 4 KB, each with a name of one byte.
            let texts = (0..8).map(|n| (n.to_string(), Value::from("x".repeat(length))));
            Value::Object(texts.collect())
        };
        assert_eq!(checked(of(4095)), Ok(()));
        assert!(checked(of(4096)).is_err_and(|error| error.is_size));
        let tags_of = |count: u32| {
            let names = (0..count).map(|n| (format!("n{n:07}"), json!(1.5)));
            tags(&names.collect())
        };
        assert_eq!(tags_of(512), Ok(()), "512 times 8 + 8 bytes");
        assert!(tags_of(513).is_err_and(|error| error.is_size));
    }

    #[test]
    fn names_and_values_have_rules() {
        for good in [
            json!({ "ä-_/\"": true }),
            json!({ "n": 4_503_599_627_370_495_i64, "m": -4_503_599_627_370_496_i64, "f": 1e300 }),
            json!({ "t": "x".repeat(4096), "list": [1, "two", null] }),
        ] {
            assert_eq!(checked(good.clone()), Ok(()), "{good}");
        }
        for bad in [
            json!({ "a.b": 1 }),
            json!({ "$a": 1 }),
            json!({ "a b": 1 }),
            json!({ "": 1 }),
            json!({ "a\u{85}": 1 }),
            json!({ "x".repeat(1025): 1 }),
            json!({ "inner": { "a.b": 1 } }),
            json!({ "n": 4_503_599_627_370_496_i64 }),
            json!({ "n": u64::MAX }),
            json!({ "t": "x".repeat(4097) }),
        ] {
            assert!(
                checked(bad.clone()).is_err_and(|error| !error.is_size),
                "{bad}"
            );
        }
    }
}
