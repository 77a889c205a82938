//! Instances that are created while the emulator runs.

mod apart;
mod devices;
mod operators;
mod resources;
mod restarts;
mod shared_store;

use dps_emulator::{InstanceHandle, InstanceName, InstanceOptions};

use crate::common::{Dps, KEY_1, KEY_2, Wire, key_enrollment, linked};

/// A valid name.
pub(crate) fn name(text: &str) -> InstanceName {
    text.parse().expect("a name")
}

/// Options with a name, and with the hub `{name}.azure-devices.net`.
fn options(text: &str) -> InstanceOptions {
    let hub = format!("{text}.azure-devices.net");
    InstanceOptions::new(name(text)).link_hub(linked(&hub))
}

/// An instance with the hub `{name}.azure-devices.net`, and its operator.
pub(crate) async fn create(dps: &Dps, text: &str) -> (InstanceHandle, Wire) {
    let created = dps.emulator.create_instance(options(text)).await;
    let instance = created.expect("created");
    let wire = wire(dps, &instance);
    (instance, wire)
}

/// The operator and the devices of an instance.
fn wire(dps: &Dps, instance: &InstanceHandle) -> Wire {
    dps.by(&instance.service_connection_string())
        .of_scope(instance.id_scope().as_str())
}

pub(crate) async fn enroll(wire: &Wire, id: &str, key: &str) {
    let other = if key == KEY_1 { KEY_2 } else { KEY_1 };
    let document = key_enrollment(id, key, other);
    wire.create(&format!("/enrollments/{id}"), &document).await;
}
