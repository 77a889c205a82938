//! Builds an initial twin of what an operator may set, and of nothing else.

use serde_json::{Map, Value};

use super::{InitialTwin, InitialTwinProperties};
use crate::ParseError;

/// What the service's model of a twin collection calls its own. Written back by a client that had read them, they
/// became properties of the device (Azure/azure-cli#30610).
const SERVICES_OWN: [&str; 3] = ["count", "metadata", "version"];
/// The longest key, in bytes.
const LONGEST_KEY: usize = 1024;
/// How many objects and arrays may lie in each other.
const DEEPEST: usize = 10;

/// Collects tags and desired properties, and makes an [`InitialTwin`] that the hub will take.
///
/// A twin that breaks the hub's rules is noticed by nobody before a device registers: here it is refused at once. No
/// metadata can get in: `$version`, `$metadata` and every other key with a `$`, nor `version`, `count` and `metadata`
/// beside the operator's own tags or properties, which the service keeps for itself.
///
/// ```
/// use dps_types::enrollment::InitialTwin;
/// let twin = InitialTwin::builder().tag("model", "toaster").desired("darkness", 3).build()?;
/// assert_eq!(
///     serde_json::to_string(&twin)?,
///     r#"{"tags":{"model":"toaster"},"properties":{"desired":{"darkness":3}}}"#
/// );
/// assert!(InitialTwin::builder().desired("$version", 1).build().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: azure-docs `iot-hub/iot-hub-devguide-device-twins.md`.
#[derive(Debug, Clone, Default)]
pub struct InitialTwinBuilder {
    tags: Map<String, Value>,
    desired: Map<String, Value>,
}

impl InitialTwinBuilder {
    /// Adds a tag, for the back end only. A tag of this name that is there already is replaced.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Adds a desired property, for the device. One of this name that is there already is replaced.
    #[must_use]
    pub fn desired(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.desired.insert(key.into(), value.into());
        self
    }

    /// The twin. What was not given is left out.
    ///
    /// # Errors
    ///
    /// When a key is empty, longer than 1,024 bytes, has a `$`, a `.`, a space or a control character, or is one that
    /// the service keeps for itself; or when more than 10 objects lie in each other.
    pub fn build(self) -> Result<InitialTwin, ParseError> {
        for collection in [&self.tags, &self.desired] {
            if let Some(key) = SERVICES_OWN
                .iter()
                .find(|key| collection.contains_key(**key))
            {
                return Err(wrong(format!(
                    "the service keeps the key {key:?} for itself"
                )));
            }
            check(collection, DEEPEST)?;
        }
        let collection = |map: Map<String, Value>| (!map.is_empty()).then(|| map.into());
        let properties = collection(self.desired).map(|desired| InitialTwinProperties {
            desired: Some(desired),
            ..Default::default()
        });
        Ok(InitialTwin {
            tags: collection(self.tags),
            properties,
            ..Default::default()
        })
    }
}

fn check(object: &Map<String, Value>, levels: usize) -> Result<(), ParseError> {
    for (key, value) in object {
        let forbidden = |c: char| c == '$' || c == '.' || c == ' ' || c.is_control();
        if key.is_empty() || key.len() > LONGEST_KEY {
            return Err(wrong("a key is empty or longer than 1024 bytes"));
        }
        if key.contains(forbidden) {
            return Err(wrong(format!(
                "a key cannot have '$', '.', spaces or control characters: {key:?}"
            )));
        }
        check_value(value, levels)?;
    }
    Ok(())
}

fn check_value(value: &Value, levels: usize) -> Result<(), ParseError> {
    let nested = || {
        levels
            .checked_sub(1)
            .ok_or_else(|| wrong("more than 10 objects lie in each other"))
    };
    match value {
        Value::Object(object) => check(object, nested()?),
        Value::Array(values) => {
            let levels = nested()?;
            values
                .iter()
                .try_for_each(|value| check_value(value, levels))
        }
        _ => Ok(()),
    }
}

fn wrong(reason: impl Into<std::borrow::Cow<'static, str>>) -> ParseError {
    ParseError::new("initial twin", reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(key: &str, value: Value) -> String {
        let as_tag = InitialTwin::builder().tag(key, value.clone()).build();
        let as_property = InitialTwin::builder().desired(key, value).build();
        let refusals = [as_tag.unwrap_err(), as_property.unwrap_err()];
        assert_eq!(refusals[0], refusals[1]);
        refusals[0].reason().to_owned()
    }

    #[test]
    fn metadata_cannot_get_in_at_any_depth() {
        for key in ["version", "count", "metadata"] {
            assert_eq!(
                refusal(key, json!(1)),
                format!("the service keeps the key {key:?} for itself")
            );
        }
        for key in [
            "$version",
            "$metadata",
            "a$b",
            "a.b",
            "a b",
            "a\u{1}",
            "a\u{85}",
        ] {
            let words =
                format!("a key cannot have '$', '.', spaces or control characters: {key:?}");
            assert_eq!(refusal(key, json!(1)), words);
            assert_eq!(refusal("deep", json!([{"er": {key: 1}}])), words);
        }
    }

    #[test]
    fn names_that_only_the_top_keeps_for_itself_are_free_below() {
        let twin =
            InitialTwin::builder().desired("firmware", json!({"version": "1.2", "count": 3}));
        assert_eq!(
            serde_json::to_string(&twin.build().unwrap()).unwrap(),
            r#"{"properties":{"desired":{"firmware":{"version":"1.2","count":3}}}}"#
        );
    }

    #[test]
    fn keys_and_depth_have_a_limit() {
        let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
        let twin = |value: Value| InitialTwin::builder().desired("a", value).build();
        assert!(twin(nested(10)).is_ok());
        assert_eq!(
            refusal("a", nested(11)),
            "more than 10 objects lie in each other"
        );
        assert!(
            InitialTwin::builder()
                .tag("k".repeat(1024), 1)
                .build()
                .is_ok()
        );
        for key in ["", &"k".repeat(1025)] {
            assert_eq!(
                refusal(key, json!(1)),
                "a key is empty or longer than 1024 bytes"
            );
        }
    }

    #[test]
    fn nothing_given_is_nothing_written() {
        let twin = InitialTwin::builder().build().unwrap();
        assert_eq!(serde_json::to_string(&twin).unwrap(), "{}");
    }
}
