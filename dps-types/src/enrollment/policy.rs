//! Which hub, and what happens when a device registers again.

open_enum! {
    /// How a hub is picked.
    pub enum AllocationPolicyKind {
        /// Evenly weighted: by a hash of the registration id.
        Hashed = "hashed",
        /// Lowest latency between device and hub.
        GeoLatency = "geoLatency",
        /// The one hub that the enrollment names.
        Static = "static",
        /// A webhook of the operator's own decides.
        Custom = "custom",
    }
}

open_enum! {
    /// Whether devices may register.
    pub enum ProvisioningStatus {
        /// They may.
        Enabled = "enabled",
        /// They may not. Devices that are assigned already keep their hub.
        Disabled = "disabled",
    }
}

lossless! {
    /// What happens when a device registers again. Unset, the service migrates.
    ///
    /// Source: azure-docs `iot-dps/concepts-device-reprovision.md`.
    pub struct ReprovisionPolicy {
        /// Whether to allocate again.
        update_hub_assignment: bool = "updateHubAssignment",
        /// Whether the twin moves along when the hub changes.
        migrate_device_data: bool = "migrateDeviceData",
    }
}

impl ReprovisionPolicy {
    /// Allocate again; when the hub changes, the twin moves along.
    pub fn migrate() -> Self {
        Self {
            update_hub_assignment: true,
            migrate_device_data: true,
            extra: Default::default(),
        }
    }

    /// Allocate again; when the hub changes, the twin starts afresh.
    pub fn reset() -> Self {
        Self {
            migrate_device_data: false,
            ..Self::migrate()
        }
    }

    /// Keep the hub for good.
    pub fn never() -> Self {
        Self {
            update_hub_assignment: false,
            migrate_device_data: false,
            ..Self::migrate()
        }
    }
}

lossless! {
    /// The webhook that allocates. Debug shows no query of its address, where a function key may stand.
    pub struct CustomAllocationDefinition {
        /// Where DPS posts its question. A function key goes into the query: `?code=…`.
        webhook_url: String = "webhookUrl" shown masked,
        /// The api-version in which DPS writes the enrollment: `2021-10-01`.
        api_version: String = "apiVersion",
    }
}

impl CustomAllocationDefinition {
    /// A webhook that is asked in api-version 2021-10-01.
    pub fn new(webhook_url: impl Into<String>) -> Self {
        let api_version = crate::protocol::ApiVersion::V2021_10_01.to_string();
        Self {
            webhook_url: webhook_url.into(),
            api_version,
            extra: Default::default(),
        }
    }
}

/// The query may contain a function key.
fn masked(url: &str) -> String {
    crate::mask_url(url)
}

lossless! {
    /// What the device can do.
    #[derive(Default)]
    pub struct DeviceCapabilities {
        /// Whether it is an IoT Edge device.
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
