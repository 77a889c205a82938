//! `dps connect`: registers a device, connects it to its hub, and follows its device twin until it is interrupted.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use clap::Args;
use dps_device::{
    AssignmentFile, AssignmentStore, CachedAssignment, ConnectOptions, DeviceEvent, Host,
    ProvisionedDevice,
};
use serde_json::{Value, json};

use super::DeviceOptions;
use super::register::PayloadOption;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::input;

/// Prints the device twin, and then one line for each change of the desired properties. It connects again after a failure, and
/// registers again when the hub does not know the device.
#[derive(Args)]
pub(crate) struct Connect {
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    payload: PayloadOption,
    /// Reported properties to send: a JSON object, or @FILE
    #[arg(long, value_name = "JSON")]
    report: Option<String>,
    /// Print the device twin, and end
    #[arg(long)]
    once: bool,
    /// File that keeps the assignment, so that the next start does not register the device again
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
    /// Address of the hub, if it differs from its name: an emulator or a gateway
    #[arg(long, env = "DPS_HUB_HOST", value_name = "HOST")]
    hub_host: Option<Host>,
}

pub(crate) async fn run(connect: Connect, context: &Context) -> Result {
    let client = connect.device.client(context).await?;
    let report = report(connect.report.as_deref())?;
    let store: Box<dyn AssignmentStore> = match &connect.cache {
        Some(file) => Box::new(AssignmentFile::new(file)),
        None => Box::new(InMemory::default()),
    };
    let (transport, hub_host) = (connect.device.transport.hub(), connect.hub_host.clone());
    let mut device = ProvisionedDevice::new(client, store).with_hub(move |hub| {
        let hub = hub.with_transport(transport);
        match &hub_host {
            Some(host) => hub.with_host(host.clone()),
            None => hub,
        }
    });
    if let Some(payload) = connect.payload.value()? {
        device = device.with_payload(payload);
    }
    // The twin is printed here first, and then each change.
    let options = ConnectOptions::new().without_messages().without_methods();
    let (handle, mut events) = device.with_options(options).connect();
    let follow = async {
        let twin = events.drive(handle.twin()).await?;
        let mut version = twin.desired.version();
        if let Some(assignment) = handle.assignment() {
            context.output.note(format_args!(
                "connected to {}",
                serde_json::to_value(&assignment)?["assignedHub"]
            ));
        }
        context.output.item(json!({
            "desired": twin.desired.as_map(), "reported": twin.reported.as_map(),
        }))?;
        if let Some(report) = report {
            let version = events.drive(handle.report(report)).await?;
            context
                .output
                .note(format_args!("reported; the version is {version}"));
        }
        if connect.once {
            return Ok(());
        }
        let mut end = None;
        while let Some(event) = events.next().await {
            let (desired, update) = match event {
                DeviceEvent::Desired(patch) => {
                    let update = json!({"desired": patch.as_map()});
                    (patch.version(), update)
                }
                DeviceEvent::Twin(twin) => {
                    let update = json!({
                        "desired": twin.desired.as_map(), "reported": twin.reported.as_map(),
                    });
                    (twin.desired.version(), update)
                }
                DeviceEvent::Failed {
                    error,
                    retry_in: None,
                    ..
                } => {
                    end = Some(error);
                    continue;
                }
                _ => continue,
            };
            if desired != version {
                version = desired;
                context.output.item(update)?;
            }
        }
        end.map_or(Ok(()), |error| Err(error.into()))
    };
    tokio::select! {
        result = follow => result,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

fn report(text: Option<&str>) -> Result<Option<Value>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let value: Value = serde_json::from_str(&input::value_or_file(text)?)
        .map_err(|error| Failure::from(error).about("--report"))?;
    match value.is_object() {
        true => Ok(Some(value)),
        false => Err(Failure::usage(
            "--report is not a JSON object, such as {\"model\": \"t1\"}",
        )),
    }
}

/// Keeps the assignment until the program ends.
#[derive(Debug, Default)]
struct InMemory(Mutex<Option<CachedAssignment>>);

impl InMemory {
    fn replace(&self, assignment: Option<CachedAssignment>) -> io::Result<()> {
        *self
            .0
            .lock()
            .map_err(|_| io::Error::other("the assignment is locked"))? = assignment;
        Ok(())
    }
}

#[async_trait]
impl AssignmentStore for InMemory {
    async fn load(&self) -> io::Result<Option<CachedAssignment>> {
        let assignment = self
            .0
            .lock()
            .map_err(|_| io::Error::other("the assignment is locked"))?;
        Ok(assignment.clone())
    }

    async fn save(&self, assignment: &CachedAssignment) -> io::Result<()> {
        self.replace(Some(assignment.clone()))
    }

    async fn clear(&self) -> io::Result<()> {
        self.replace(None)
    }
}
