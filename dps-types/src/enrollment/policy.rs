//! Allocation policy, reprovisioning policy and capabilities of an enrollment.

open_enum! {
    /// How a hub is selected.
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
    /// Whether devices may register.
    pub enum ProvisioningStatus {
        /// Devices may register.
        Enabled = "enabled",
        /// Devices may not register. Devices that are assigned already keep their hub.
        Disabled = "disabled",
    }
}

lossless! {
    /// What happens when a device registers again. The default of the service is to migrate.
    ///
    /// Source: azure-docs `iot-dps/concepts-device-reprovision.md`.
    pub struct ReprovisionPolicy {
        /// Whether to allocate again.
        update_hub_assignment: bool = "updateHubAssignment",
        /// Whether the twin is migrated when the hub changes.
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
        api_version: String = "apiVersion",
    }
}

impl CustomAllocationDefinition {
    /// A webhook that receives api-version 2021-10-01.
    pub fn new(webhook_url: impl Into<String>) -> Self {
        let api_version = crate::protocol::ApiVersion::V2021_10_01.to_string();
        Self {
            webhook_url: webhook_url.into(),
            api_version,
            extra: Default::default(),
        }
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
