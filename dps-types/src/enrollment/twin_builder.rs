//! Builds an initial twin from tags and desired properties that the hub accepts.

use serde_json::{Map, Value};

use super::{InitialTwin, InitialTwinProperties};
use crate::ParseError;
use crate::twin::limits;

/// Members of the service's model of a twin collection. A client that had read them and wrote them back turned them into
/// properties of the device (Azure/azure-cli#30610).
const RESERVED: [&str; 3] = ["count", "metadata", "version"];

/// Collects tags and desired properties and builds an [`InitialTwin`] that the hub accepts.
///
/// DPS does not check the twin of an enrollment, so a mistake shows only when a device registers. The builder reports it
/// at once: it applies the [limits of a twin](crate::twin::limits), and refuses the names `version`, `count` and
/// `metadata` at the top level, which the service reserves.
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

impl InitialTwin {
    /// Starts a twin whose tags and properties are checked: [`InitialTwinBuilder`].
    pub fn builder() -> InitialTwinBuilder {
        InitialTwinBuilder::default()
    }
}

impl InitialTwinBuilder {
    /// Adds a tag, which only the back end sees. Replaces an earlier tag of this name.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Adds a desired property, which the device receives. Replaces an earlier one of this name.
    #[must_use]
    pub fn desired(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.desired.insert(key.into(), value.into());
        self
    }

    /// Builds the twin. Sections without a value are left out.
    ///
    /// # Errors
    ///
    /// When a name is reserved by the service, or a section exceeds one of the [limits](crate::twin::limits).
    pub fn build(self) -> Result<InitialTwin, ParseError> {
        for section in [&self.tags, &self.desired] {
            if let Some(name) = RESERVED.iter().find(|name| section.contains_key(**name)) {
                return Err(invalid(format!("the service reserves the name {name:?}")));
            }
        }
        limits::check_tags(&self.tags).map_err(|error| invalid(error.to_string()))?;
        limits::check_properties(&self.desired).map_err(|error| invalid(error.to_string()))?;
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

fn invalid(reason: String) -> ParseError {
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
    fn reserved_names_are_refused_at_the_top_level_only() {
        for name in ["version", "count", "metadata"] {
            assert_eq!(
                refusal(name, json!(1)),
                format!("the service reserves the name {name:?}")
            );
        }
        let twin =
            InitialTwin::builder().desired("firmware", json!({"version": "1.2", "count": 3}));
        assert_eq!(
            serde_json::to_string(&twin.build().unwrap()).unwrap(),
            r#"{"properties":{"desired":{"firmware":{"version":"1.2","count":3}}}}"#
        );
    }

    #[test]
    fn the_limits_of_a_twin_apply_at_any_depth() {
        for name in ["$version", "$metadata", "a.b", "a b", "a\u{85}"] {
            let reason =
                format!("a name contains '$', '.', a space or a control character: {name:?}");
            assert_eq!(refusal(name, json!(1)), reason);
            assert_eq!(refusal("deep", json!([{"er": {name: 1}}])), reason);
        }
        let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
        let twin = |value: Value| InitialTwin::builder().desired("a", value).build();
        assert!(twin(nested(10)).is_ok());
        assert_eq!(
            refusal("a", nested(11)),
            "objects are nested more than 10 levels deep"
        );
        assert_eq!(
            refusal("a", json!("x".repeat(4097))),
            "a string is longer than 4096 bytes"
        );
    }

    #[test]
    fn the_size_is_checked_as_the_hub_counts_it() {
        let tags = |length| InitialTwin::builder().tag("a", json!(vec!["x".repeat(4000); length]));
        assert!(tags(2).build().is_ok());
        assert!(tags(3).build().is_err(), "8 KB of tags");
        let desired =
            |length| InitialTwin::builder().desired("a", json!(vec!["x".repeat(4000); length]));
        assert!(desired(8).build().is_ok());
        assert!(desired(9).build().is_err(), "32 KB of desired properties");
    }

    #[test]
    fn an_empty_builder_builds_an_empty_twin() {
        let twin = InitialTwin::builder().build().unwrap();
        assert_eq!(serde_json::to_string(&twin).unwrap(), "{}");
    }
}
