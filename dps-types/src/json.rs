//! JSON documents from outside: a byte order mark is skipped, the depth of free-form values is limited.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ParseError;

/// The deepest nesting of a value that a device, a webhook or an operator may store: `1` has depth 0, `[1]` has depth 1.
///
/// A stored document wraps such a value in a few more levels. serde_json reads 128 levels, so a value within
/// this limit can be read again. The service's own limit is not documented; 64 is the default of .NET's JSON readers.
pub const MAX_DEPTH: usize = 64;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Reads a document from UTF-8, with or without a byte order mark.
///
/// The service is written in .NET, whose readers skip the mark and whose writers often produce one (inferred).
///
/// # Errors
/// If the text is not JSON, or not a document of this type.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(
        json.strip_prefix(BYTE_ORDER_MARK.as_bytes())
            .unwrap_or(json),
    )
}

/// Reads a document from a text, with or without a byte order mark.
///
/// # Errors
/// If the text is not JSON, or not a document of this type.
pub fn from_str<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json))
}

/// Checks that the value is not nested deeper than [`MAX_DEPTH`].
///
/// # Errors
/// If the value is nested deeper than [`MAX_DEPTH`].
pub fn check_depth(value: &Value) -> Result<(), ParseError> {
    match is_within(value, MAX_DEPTH) {
        true => Ok(()),
        false => Err(ParseError::new(
            "JSON value",
            format!("it is nested deeper than {MAX_DEPTH} levels"),
        )),
    }
}

/// The recursion ends after `levels` calls, however deep the value is.
fn is_within(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(values), Some(rest)) => values.iter().all(|value| is_within(value, rest)),
        (Value::Object(map), Some(rest)) => map.values().all(|value| is_within(value, rest)),
        (Value::Array(_) | Value::Object(_), None) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arrays(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, _| json!([inner]))
    }

    fn objects(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, _| json!({ "a": inner, "b": 1 }))
    }

    #[test]
    fn one_byte_order_mark_is_skipped() {
        for text in ["{\"a\":1}", "\u{feff}{\"a\":1}", "\u{feff} {\"a\":1}\r\n"] {
            assert_eq!(from_str::<Value>(text).expect(text), json!({ "a": 1 }));
            let read: Value = from_slice(text.as_bytes()).expect(text);
            assert_eq!(read, json!({ "a": 1 }));
        }
        for text in [
            "",
            "\u{feff}",
            "\u{feff}\u{feff}{}",
            "{}\u{feff}",
            " \u{feff}{}",
        ] {
            assert!(from_str::<Value>(text).is_err(), "{text:?}");
            assert!(from_slice::<Value>(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(from_slice::<Value>(b"\xff\xfe{\0}\0").is_err(), "UTF-16");
    }

    #[test]
    fn the_last_of_two_members_with_one_name_wins() {
        assert_eq!(
            from_str::<Value>(r#"{"a":1,"a":2}"#).expect("JSON"),
            json!({ "a": 2 })
        );
    }

    #[test]
    fn a_value_may_be_nested_64_levels_deep() {
        for nested in [arrays, objects] {
            assert!(check_depth(&nested(64)).is_ok());
            let error = check_depth(&nested(65)).expect_err("too deep");
            assert_eq!(error.reason(), "it is nested deeper than 64 levels");
        }
        assert!(check_depth(&json!("scalar")).is_ok());
        assert!(check_depth(&json!([1, { "a": arrays(62) }])).is_ok());
        assert!(check_depth(&json!([1, { "a": arrays(63) }])).is_err());
    }

    #[test]
    fn a_value_within_the_limit_can_be_wrapped_and_read_again() {
        let stored = json!({ "a": { "b": { "c": { "payload": arrays(MAX_DEPTH) } } } }).to_string();
        assert!(from_str::<Value>(&stored).is_ok());
    }
}
