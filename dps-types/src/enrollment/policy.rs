//! Allocation policy, reprovisioning policy and capabilities of an enrollment.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::protocol::ApiVersion;

open_enum! {
    /// The rule by which DPS selects a hub.
    pub enum AllocationPolicyKind {
        /// Evenly weighted: by a hash of the registration id.
        Hashed = "hashed",
        /// Lowest latency between device and hub.
        GeoLatency = "geoLatency",
        /// The one hub that the enrollment names.
        Static = "static",
        /// A webhook of the operator selects the hub.
        Custom = "custom",
    }
}

open_enum! {
    /// The permission of devices to register.
    pub enum ProvisioningStatus {
        /// Devices may register.
        Enabled = "enabled",
        /// Devices may not register. Devices that are assigned already keep their hub.
        Disabled = "disabled",
    }
}

lossless! {
    /// The rules for a device that registers again. The default of the service is to migrate.
    ///
    /// Source: azure-docs `iot-dps/concepts-device-reprovision.md`.
    pub struct ReprovisionPolicy {
        /// True to allocate again.
        update_hub_assignment: bool = "updateHubAssignment",
        /// True if the twin is migrated when the hub changes.
        migrate_device_data: bool = "migrateDeviceData",
    }
}

impl ReprovisionPolicy {
    /// Allocates again; when the hub changes, the twin is migrated.
    pub fn migrate() -> Self {
        Self {
            update_hub_assignment: true,
            migrate_device_data: true,
            extra: Default::default(),
        }
    }

    /// Allocates again; when the hub changes, the twin is reset to the initial twin.
    pub fn reset() -> Self {
        Self {
            migrate_device_data: false,
            ..Self::migrate()
        }
    }

    /// Keeps the hub.
    pub fn never() -> Self {
        Self {
            update_hub_assignment: false,
            migrate_device_data: false,
            ..Self::migrate()
        }
    }
}

lossless! {
    /// The webhook of custom allocation. Debug does not show the query of its URL, which may hold a function key.
    pub struct CustomAllocationDefinition {
        /// The URL to which DPS posts its requests. A function key is part of the query: `?code=…`.
        webhook_url: String = "webhookUrl" shown masked,
        /// The api-version of the enrollment in the request: `2021-10-01`.
        api_version: WebhookApiVersion = "apiVersion",
    }
}

impl CustomAllocationDefinition {
    /// A webhook that receives api-version 2021-10-01.
    pub fn new(webhook_url: impl Into<String>) -> Self {
        Self {
            webhook_url: webhook_url.into(),
            api_version: ApiVersion::V2021_10_01.into(),
            extra: Default::default(),
        }
    }
}

/// The api-version of the requests that a webhook receives. A text that is not an api-version is kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WebhookApiVersion {
    /// A date, and whether it is a preview.
    Version(ApiVersion),
    /// Any other text.
    Unknown(String),
}

impl From<ApiVersion> for WebhookApiVersion {
    fn from(version: ApiVersion) -> Self {
        Self::Version(version)
    }
}

impl From<String> for WebhookApiVersion {
    fn from(text: String) -> Self {
        text.parse()
            .map_or_else(|_| Self::Unknown(text), Self::Version)
    }
}

impl fmt::Display for WebhookApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Unknown(text) => f.pad(text),
        }
    }
}

impl Serialize for WebhookApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WebhookApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// The query may hold a function key.
fn masked(url: &str) -> String {
    crate::mask_url(url)
}

lossless! {
    /// The capabilities of a device.
    #[derive(Default)]
    pub struct DeviceCapabilities {
        /// True if it is an IoT Edge device.
        iot_edge: bool = "iotEdge",
    }
}

impl DeviceCapabilities {
    /// An IoT Edge device.
    pub fn iot_edge() -> Self {
        Self {
            iot_edge: true,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_api_version_that_is_not_a_date_is_kept() {
        for (text, version) in [
            ("2021-10-01", ApiVersion::V2021_10_01.into()),
            ("2018-09-01-preview", ApiVersion::V2018_09_01_PREVIEW.into()),
            ("2099-01-01", "2099-01-01".to_owned().into()),
            (
                "2021-13-01",
                WebhookApiVersion::Unknown("2021-13-01".to_owned()),
            ),
            ("V2", WebhookApiVersion::Unknown("V2".to_owned())),
            ("", WebhookApiVersion::Unknown(String::new())),
        ] {
            let document = json!({ "webhookUrl": "https://example.com", "apiVersion": text });
            let read: CustomAllocationDefinition =
                serde_json::from_value(document.clone()).expect(text);
            assert_eq!(read.api_version, version);
            assert_eq!(serde_json::to_value(&read).expect("JSON"), document);
        }
        let future = WebhookApiVersion::from("2099-01-01".to_owned());
        assert!(
            matches!(future, WebhookApiVersion::Version(_)),
            "{future:?}"
        );
    }
}
