//! A device twin as the device sees it: desired and reported properties. A device cannot see the tags.

use std::fmt;

use dps_types::json;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::Error;

/// The twin of a device.
///
/// Source: azure-docs `iot-hub/iot-hub-devguide-device-twins.md`.
///
/// ```no_run
/// # async fn example(
/// #     handle: dps_device::DeviceHandle, mut events: dps_device::DeviceEvents,
/// # ) -> Result<(), dps_device::Error> {
/// let twin = events.drive(handle.twin()).await?;
/// println!("{:?}, version {}", twin.desired.get("mode"), twin.desired.version());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Twin {
    /// The desired properties, which the service sets.
    pub desired: TwinProperties,
    /// The reported properties, which the device sets.
    pub reported: TwinProperties,
}

/// Properties of a twin: a JSON object and its version. In a change, `null` means that the property was removed.
///
/// Debug shows the version and the number of properties, not their values, which may be confidential.
#[derive(Clone, PartialEq)]
pub struct TwinProperties {
    version: u64,
    properties: Map<String, Value>,
}

impl TwinProperties {
    /// The version, which increases with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The property with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.properties.get(name)
    }

    /// The names and values of the properties.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.properties
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The number of properties.
    pub fn len(&self) -> usize {
        self.properties.len()
    }

    /// True if there are no properties.
    pub fn is_empty(&self) -> bool {
        self.properties.is_empty()
    }

    /// The properties as a JSON object.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.properties
    }

    /// Deserializes the properties.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if they are not a valid `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.properties).map_err(|error| {
            Error::protocol("the properties do not have the expected type").with_source(error)
        })
    }

    /// Applies a change as the hub does: objects are merged, `null` removes a property, any other value replaces it.
    pub fn merge(&mut self, change: &Self) {
        self.version = change.version;
        merge(&mut self.properties, &change.properties);
    }

    /// Reads a change. The version is that of the topic, not the one in the body.
    pub(super) fn change(version: u64, body: &[u8]) -> Result<Self, serde_json::Error> {
        let mut properties: Map<String, Value> = json::from_slice(body)?;
        take_version(&mut properties);
        Ok(Self {
            version,
            properties,
        })
    }
}

impl<'de> Deserialize<'de> for TwinProperties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut properties = Map::deserialize(deserializer)?;
        let version = take_version(&mut properties)
            .ok_or_else(|| serde::de::Error::custom("the properties have no $version"))?;
        Ok(Self {
            version,
            properties,
        })
    }
}

impl fmt::Debug for TwinProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwinProperties")
            .field("version", &self.version)
            .field("properties", &self.properties.len())
            .finish()
    }
}

/// Removes the fields that the hub adds, whose names begin with `$`, and returns the version.
fn take_version(properties: &mut Map<String, Value>) -> Option<u64> {
    let version = properties.get("$version").and_then(Value::as_u64);
    properties.retain(|name, _| !name.starts_with('$'));
    version
}

fn merge(into: &mut Map<String, Value>, change: &Map<String, Value>) {
    for (name, value) in change {
        match (into.get_mut(name), value) {
            (_, Value::Null) => {
                into.shift_remove(name);
            }
            (Some(Value::Object(into)), Value::Object(change)) => merge(into, change),
            (_, Value::Object(change)) => {
                let mut new = Map::new();
                merge(&mut new, change);
                into.insert(name.clone(), new.into());
            }
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The answer in azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`.
    const TWIN: &str = r#"{
        "desired": {"telemetrySendFrequency": "5m", "$version": 12},
        "reported": {"telemetrySendFrequency": "5m", "batteryLevel": 55, "$version": 123}
    }"#;

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let twin: Twin = serde_json::from_str(TWIN).unwrap();
        assert_eq!((twin.desired.version(), twin.reported.version()), (12, 123));
        assert_eq!(twin.desired.len(), 1);
        assert_eq!(twin.reported.get("batteryLevel").unwrap(), 55);

        #[derive(Deserialize)]
        struct Reported {
            #[serde(rename = "batteryLevel")]
            battery_level: u8,
        }
        let reported: Reported = twin.reported.parse().unwrap();
        assert_eq!(reported.battery_level, 55);
        assert!(twin.desired.parse::<Reported>().is_err());
    }

    #[test]
    fn fields_that_the_hub_adds_are_not_properties() {
        let text = r#"{"a": 1, "$metadata": {"a": {}}, "$version": 3}"#;
        let properties: TwinProperties = serde_json::from_str(text).unwrap();
        assert_eq!(
            properties.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["a"]
        );
        assert!(serde_json::from_str::<TwinProperties>(r#"{"a": 1}"#).is_err());
        assert!(serde_json::from_str::<TwinProperties>("[]").is_err());
    }

    #[test]
    fn a_change_is_merged_like_at_the_hub() {
        let text = r#"{"a": 1, "b": {"c": 2, "d": 3}, "e": [1], "$version": 7}"#;
        let mut properties: TwinProperties = serde_json::from_str(text).unwrap();
        let change = br#"{"a": null, "b": {"d": null, "f": {"g": 4, "h": null}}, "e": [2], "i": {"j": null}, "$version": 8}"#;
        let change = TwinProperties::change(8, change).unwrap();
        properties.merge(&change);
        assert_eq!(properties.version(), 8);
        assert_eq!(
            Value::from(properties.properties.clone()),
            json!({"b": {"c": 2, "f": {"g": 4}}, "e": [2], "i": {}})
        );
        assert!(TwinProperties::change(9, b"[]").is_err());
        assert!(TwinProperties::change(9, b"").is_err());
    }

    #[test]
    fn debug_shows_no_value() {
        let twin: Twin = serde_json::from_str(TWIN).unwrap();
        assert!(!format!("{twin:?}").contains("5m"));
    }
}
