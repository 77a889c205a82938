//! The limits of a twin: names, values, depth and size, as IoT Hub documents and counts them.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-device-twins.md`, sections "Tags and properties format" and
//! "Device twin size".

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde_json::{Map, Number, Value};

use crate::json;

/// The largest size of all tags together, in bytes as the hub counts them.
pub const MAX_TAGS_BYTES: usize = 8 * 1024;
/// The largest size of all desired, or of all reported, properties together, in bytes as the hub counts them.
pub const MAX_PROPERTIES_BYTES: usize = 32 * 1024;
/// The maximum number of nested objects below the section itself. Arrays do not count.
pub const MAX_DEPTH: usize = 10;
/// The longest name of a tag or property, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 1024;
/// The longest string value, in bytes of UTF-8.
pub const MAX_STRING_BYTES: usize = 4 * 1024;
/// The range of integers.
pub const INTEGERS: RangeInclusive<i64> = -4_503_599_627_370_496..=4_503_599_627_370_495;

/// A limit that a section of a twin exceeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct LimitError {
    reason: Cow<'static, str>,
    is_size: bool,
}

impl LimitError {
    /// Returns true if the section as a whole is too large. A hub answers that with another status.
    pub fn is_size(&self) -> bool {
        self.is_size
    }

    fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: reason.into(),
            is_size: false,
        }
    }
}

/// Checks the tags of a twin.
///
/// # Errors
/// Names the first limit that the tags exceed.
pub fn check_tags(tags: &Map<String, Value>) -> Result<(), LimitError> {
    check(tags, MAX_TAGS_BYTES)
}

/// Checks the desired or the reported properties of a twin. A patch is checked in the same way: a `null` counts as 0.
///
/// # Errors
/// Names the first limit that the properties exceed.
pub fn check_properties(properties: &Map<String, Value>) -> Result<(), LimitError> {
    check(properties, MAX_PROPERTIES_BYTES)
}

fn check(section: &Map<String, Value>, limit: usize) -> Result<(), LimitError> {
    match size_of_object(section, 0, 0)? {
        size if size > limit => Err(LimitError {
            reason: format!("the section has {size} bytes, and {limit} are allowed").into(),
            is_size: true,
        }),
        _ => Ok(()),
    }
}

/// Counts objects (`depth`) for the documented limit, and objects and arrays (`levels`) so that the recursion ends.
fn size_of_object(
    object: &Map<String, Value>,
    depth: usize,
    levels: usize,
) -> Result<usize, LimitError> {
    if depth > MAX_DEPTH {
        return Err(LimitError::new(format!(
            "objects are nested more than {MAX_DEPTH} levels deep"
        )));
    }
    let mut size = 0;
    for (name, value) in object {
        check_name(name)?;
        size += name.len() + size_of(value, depth, levels)?;
    }
    Ok(size)
}

fn check_name(name: &str) -> Result<(), LimitError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(LimitError::new(format!(
            "a name is empty or longer than {MAX_NAME_BYTES} bytes"
        )));
    }
    let forbidden = |c: char| c.is_control() || matches!(c, '.' | '$' | ' ');
    match name.contains(forbidden) {
        true => Err(LimitError::new(format!(
            "a name contains '$', '.', a space or a control character: {name:?}"
        ))),
        false => Ok(()),
    }
}

fn size_of(value: &Value, depth: usize, levels: usize) -> Result<usize, LimitError> {
    if levels > json::MAX_DEPTH {
        return Err(LimitError::new(format!(
            "values are nested more than {} levels deep",
            json::MAX_DEPTH
        )));
    }
    match value {
        Value::Null => Ok(0),
        Value::Bool(_) => Ok(4),
        Value::Number(number) if is_in_range(number) => Ok(8),
        Value::Number(_) => Err(LimitError::new(format!(
            "an integer is not between {} and {}",
            INTEGERS.start(),
            INTEGERS.end()
        ))),
        Value::String(text) if text.len() > MAX_STRING_BYTES => Err(LimitError::new(format!(
            "a string is longer than {MAX_STRING_BYTES} bytes"
        ))),
        // Control characters do not count.
        Value::String(text) => Ok(text
            .chars()
            .filter(|c| !c.is_control())
            .map(char::len_utf8)
            .sum()),
        Value::Array(items) => items
            .iter()
            .map(|item| size_of(item, depth, levels + 1))
            .sum(),
        Value::Object(object) => size_of_object(object, depth + 1, levels + 1),
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

    fn properties(value: Value) -> Result<(), LimitError> {
        check_properties(value.as_object().expect("an object"))
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!({ "deepest": 1 }), |inner, _| json!({ "x": inner }))
    }

    #[track_caller]
    fn assert_refused(value: Value, reason: &str) {
        let error = properties(value).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!error.is_size());
    }

    #[test]
    fn ten_levels_of_objects_are_allowed_and_arrays_do_not_count() {
        assert_eq!(properties(nested(10)), Ok(()));
        assert_eq!(properties(json!({ "x": [[[nested(9)]]] })), Ok(()));
        assert_refused(nested(11), "more than 10 levels");
        assert_refused(json!({ "list": [nested(10)] }), "more than 10 levels");
    }

    #[test]
    fn arrays_that_are_nested_without_end_are_refused() {
        let arrays = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(properties(json!({ "a": arrays(64) })), Ok(()));
        assert_refused(json!({ "a": arrays(65) }), "more than 64 levels");
    }

    #[test]
    fn sizes_are_counted_as_documented() {
        let of = |length: usize| {
            let texts = (0..8).map(|n| (n.to_string(), Value::from("x".repeat(length))));
            Value::Object(texts.collect())
        };
        assert_eq!(properties(of(4095)), Ok(()), "8 times 1 + 4095 bytes");
        assert!(properties(of(4096)).is_err_and(|error| error.is_size()));
        let tags_of = |count: u32| {
            let names = (0..count).map(|n| (format!("n{n:07}"), json!(1.5)));
            check_tags(&names.collect())
        };
        assert_eq!(tags_of(512), Ok(()), "512 times 8 + 8 bytes");
        assert!(tags_of(513).is_err_and(|error| error.is_size()));
    }

    #[test]
    fn control_characters_and_nulls_do_not_count() {
        let value = json!({ "a": "\n".repeat(4096), "b": null });
        let many = |count: u32| {
            let objects = (0..count).map(|n| (format!("{n:06}"), value.clone()));
            check_properties(&objects.collect())
        };
        assert_eq!(many(4096), Ok(()), "4096 times 6 + 1 + 1 bytes");
        assert!(many(4097).is_err_and(|error| error.is_size()));
    }

    #[test]
    fn names_and_values_have_limits() {
        for good in [
            json!({ "ä-_/\"": true }),
            json!({ "n": 4_503_599_627_370_495_i64, "m": -4_503_599_627_370_496_i64, "f": 1e300 }),
            json!({ "t": "x".repeat(4096), "list": [1, "two", null] }),
        ] {
            assert_eq!(properties(good.clone()), Ok(()), "{good}");
        }
        for name in ["a.b", "$a", "a b", "a\n", "a\u{85}"] {
            assert_refused(json!({ name: 1 }), "a name contains");
            assert_refused(json!({ "inner": [{ name: 1 }] }), "a name contains");
        }
        for name in ["", &"x".repeat(1025)] {
            assert_refused(json!({ name: 1 }), "longer than 1024 bytes");
        }
        assert_refused(json!({ "n": 4_503_599_627_370_496_i64 }), "an integer");
        assert_refused(json!({ "n": u64::MAX }), "an integer");
        assert_refused(json!({ "t": "x".repeat(4097) }), "4096 bytes");
    }
}
