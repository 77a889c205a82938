//! The name of a device, or of a module of a device, in a linked hub, and its place in the store.

use std::fmt;

use dps_types::protocol::hub::{client_id, module_resource, resource};
use dps_types::{DeviceId, HubHostname, ModuleId, ParseError};

use crate::state::store::Table;

/// A device of a hub, or a module of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) hub: HubHostname,
    pub(crate) device_id: DeviceId,
    pub(crate) module_id: Option<ModuleId>,
}

impl Identity {
    pub(crate) fn device(hub: &HubHostname, device_id: &DeviceId) -> Self {
        Self {
            hub: hub.clone(),
            device_id: device_id.clone(),
            module_id: None,
        }
    }

    pub(crate) fn with_module(self, module_id: Option<ModuleId>) -> Self {
        Self { module_id, ..self }
    }

    /// Reads `{deviceId}` or `{deviceId}/{moduleId}`. Ids have no `/`.
    pub(super) fn parse(hub: &HubHostname, text: &str) -> Result<Self, ParseError> {
        let (device_id, module_id) = match text.split_once('/') {
            Some((device_id, module_id)) => (device_id, Some(ModuleId::new(module_id)?)),
            None => (text, None),
        };
        Ok(Self::device(hub, &DeviceId::new(device_id)?).with_module(module_id))
    }

    /// The device itself, or the device of the module.
    pub(super) fn of_device(&self) -> Self {
        self.clone().with_module(None)
    }

    /// The table of the store that has devices, or that has modules.
    pub(super) fn table(&self) -> Table {
        match self.module_id {
            Some(_) => Table::HubModules,
            None => Table::Hubs,
        }
    }

    /// The key in the store: `{hub}/{deviceId}` or `{hub}/{deviceId}/{moduleId}`. Host names and ids contain no `/`, and ids
    /// are case-sensitive.
    pub(super) fn key(&self) -> String {
        format!("{}/{self}", self.hub.to_lowercase())
    }

    /// The resource that its SAS token must be for.
    pub(super) fn resource(&self) -> String {
        match &self.module_id {
            Some(module_id) => module_resource(&self.hub, &self.device_id, module_id),
            None => resource(&self.hub, &self.device_id),
        }
    }
}

impl fmt::Display for Identity {
    /// `{deviceId}` or `{deviceId}/{moduleId}`, which is also the MQTT client id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&client_id(&self.device_id, self.module_id.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_its_own_key_table_and_resource() {
        let hub: HubHostname = "Hub-A.example".parse().expect("a host name");
        let module = Identity::parse(&hub, "dev-1/mod-1").expect("valid");
        assert_eq!(module.key(), "hub-a.example/dev-1/mod-1");
        assert_eq!(module.table(), Table::HubModules);
        assert_eq!(
            module.resource(),
            "Hub-A.example/devices/dev-1/modules/mod-1"
        );
        let device = module.of_device();
        assert_eq!(device.key(), "hub-a.example/dev-1");
        assert_eq!(device.table(), Table::Hubs);
        assert_eq!(device.resource(), "Hub-A.example/devices/dev-1");
        for text in ["", "/", "dev-1/", "/mod-1", "dev-1/mod-1/x", "dev 1"] {
            assert!(Identity::parse(&hub, text).is_err(), "{text}");
        }
    }
}
