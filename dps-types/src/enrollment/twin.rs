//! The initial twin of a device.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A free-form JSON object of a twin: tags, or desired properties.
///
/// ```
/// use dps_types::enrollment::TwinCollection;
///
/// let mut tags = TwinCollection::default();
/// tags.insert("model", "toaster");
/// assert_eq!(tags.get("model"), Some(&"toaster".into()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TwinCollection(Map<String, Value>);

json_object!(TwinCollection);

impl From<Map<String, Value>> for TwinCollection {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for TwinCollection {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for TwinCollection {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

lossless! {
    /// The twin that a device receives when it is first assigned.
    #[derive(Default)]
    pub struct InitialTwin {
        /// The tags, which only the back end sees.
        tags: Option<TwinCollection> = "tags",
        /// The properties, which the device receives.
        properties: Option<InitialTwinProperties> = "properties",
    }
}

lossless! {
    /// The properties of an initial twin.
    #[derive(Default)]
    pub struct InitialTwinProperties {
        /// The desired properties.
        desired: Option<TwinCollection> = "desired",
    }
}

impl InitialTwin {
    /// Creates a twin with these desired properties, without a check.
    ///
    /// ```
    /// use dps_types::enrollment::InitialTwin;
    /// let twin = InitialTwin::desired([("darkness", "medium")]).with_tags([("deviceType", "toaster")]);
    /// assert_eq!(
    ///     serde_json::to_string(&twin)?,
    ///     r#"{"tags":{"deviceType":"toaster"},"properties":{"desired":{"darkness":"medium"}}}"#
    /// );
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn desired(desired: impl Into<TwinCollection>) -> Self {
        let properties = InitialTwinProperties {
            desired: Some(desired.into()),
            ..Default::default()
        };
        Self {
            properties: Some(properties),
            ..Self::default()
        }
    }

    /// Adds tags, without a check.
    #[must_use]
    pub fn with_tags(mut self, tags: impl Into<TwinCollection>) -> Self {
        self.tags = Some(tags.into());
        self
    }
}
