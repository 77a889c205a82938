//! `dps register`: registers a device, shows what happens meanwhile, and prints the assignment.

use clap::Args;
use dps_device::{Assignment, Event, ProvisioningClient};
use serde_json::Value;

use super::DeviceOptions;
use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::input;
use crate::tools::progress;

#[derive(Args)]
pub(crate) struct Register {
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    payload: PayloadOption,
}

/// The data that a device sends to the allocation policy.
#[derive(Args)]
pub(crate) struct PayloadOption {
    /// Payload for a custom allocation webhook: JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
}

impl PayloadOption {
    pub(crate) fn value(&self) -> Result<Option<Value>> {
        let Some(text) = &self.payload else {
            return Ok(None);
        };
        let text = input::value_or_file(text)?;
        let value = dps_types::json::from_str(&text)
            .map_err(|error| Failure::from(error).about("--payload"))?;
        Ok(Some(value))
    }
}

pub(crate) async fn run(register: Register, context: &Context) -> Result {
    let client = register.device.client(context).await?;
    let assignment = assign(&client, &register.device, &register.payload, context).await?;
    context.output.item(assignment.registration())
}

/// Registers the device, with its state on a terminal.
pub(super) async fn assign(
    client: &ProvisioningClient,
    device: &DeviceOptions,
    payload: &PayloadOption,
    context: &Context,
) -> Result<Assignment> {
    let mut registration = client.register().timeout(device.timeout());
    if let Some(payload) = payload.value()? {
        registration = registration.payload(payload);
    }
    let spinner = progress::spinner(context);
    let mut events = registration.events();
    while let Some(event) = events.next().await {
        match event {
            Event::Assigned(assignment) => {
                spinner.finish_and_clear();
                return Ok(*assignment);
            }
            Event::Failed(error) => {
                spinner.finish_and_clear();
                return Err(error.into());
            }
            Event::Connecting => spinner.set_message("connecting"),
            Event::Registering => spinner.set_message("registering"),
            Event::Assigning { .. } => spinner.set_message("the service is assigning the device"),
            Event::FallingBack { error, .. } => {
                spinner.println(format!("{error}; using the secondary credentials"));
            }
            Event::Retrying { error, wait, .. } => {
                spinner.set_message(format!("{error}; again in {:.0} s", wait.as_secs_f64()));
            }
            _ => {}
        }
    }
    Err(Failure::new(
        Exit::Failure,
        "the registration ended without a result",
    ))
}
