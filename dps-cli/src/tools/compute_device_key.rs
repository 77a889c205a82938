//! `dps compute-device-key`: the key of a device from the key of its enrollment group.

use clap::Args;
use dps_types::RegistrationId;
use serde_json::json;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::format::Format;
use crate::input::{self, InputFile};

/// Prints one key, or a list of keys for several devices. The group key is read from a file or from the variable DPS_GROUP_KEY.
#[derive(Args)]
pub(crate) struct ComputeDeviceKey {
    /// Registration ids of the devices
    #[arg(required = true)]
    registration_ids: Vec<RegistrationId>,
    /// File with the group key in base64; - for stdin
    #[arg(long, value_name = "FILE")]
    group_key_file: Option<InputFile>,
}

pub(crate) fn run(command: &ComputeDeviceKey, context: &Context) -> Result {
    let key = input::key(command.group_key_file.as_ref(), "DPS_GROUP_KEY")?.ok_or_else(|| {
        Failure::usage("the group key is missing")
            .with_hint("use --group-key-file FILE, - for stdin, or the variable DPS_GROUP_KEY")
    })?;
    // The key alone, so that a script can use it.
    if let ([only], Format::Table) = (&command.registration_ids[..], context.output.format()) {
        println!("{}", key.derive_device_key(only).to_base64().as_str());
        return Ok(());
    }
    let mut list = context
        .output
        .list(&[("REGISTRATION ID", "/registrationId"), ("KEY", "/key")]);
    for id in &command.registration_ids {
        let derived = key.derive_device_key(id).to_base64();
        list.push(json!({"registrationId": id, "key": derived.as_str()}))?;
    }
    list.finish()
}
