//! `dps lookup`: the registration status of a device, as the device itself can read it.

use clap::Args;

use super::DeviceOptions;
use crate::context::Context;
use crate::failure::Result;

/// It does not register the device, does not change its assignment, and is not billed.
#[derive(Args)]
pub(crate) struct Lookup {
    #[command(flatten)]
    device: DeviceOptions,
}

pub(crate) async fn run(lookup: Lookup, context: &Context) -> Result {
    let client = lookup.device.client(context).await?;
    let found = client.lookup().timeout(lookup.device.timeout()).await?;
    context.output.item(found)
}
