//! `dps registration`: the registration records of an instance.

use clap::{Args, Subcommand};
use dps_service::ServiceClient;
use dps_types::{EnrollmentGroupId, RegistrationId};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::context::Context;
use crate::document::add;
use crate::failure::Result;
use crate::output::Column;
use crate::service::ServiceOptions;

const COLUMNS: &[Column] = &[
    ("REGISTRATION ID", "/registrationId"),
    ("GROUP", "/enrollmentGroupId"),
    ("STATUS", "/status"),
    ("HUB", "/assignedHub"),
    ("DEVICE ID", "/deviceId"),
    ("UPDATED", "/lastUpdatedDateTimeUtc"),
    ("ERROR", "/errorMessage"),
];

#[derive(Args)]
pub(crate) struct RegistrationCommand {
    #[command(flatten)]
    service: ServiceOptions,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the registration records of all enrollments, or of one group
    List {
        /// Only the devices of this enrollment group
        #[arg(long, value_name = "ID")]
        group: Option<EnrollmentGroupId>,
        /// Print at most this number
        #[arg(long, value_name = "N")]
        top: Option<usize>,
    },
    /// Show one
    Show {
        /// Registration id of the device
        id: RegistrationId,
    },
    /// Delete records: the devices stay at their hubs, and register as new devices
    Delete {
        /// Registration ids of the devices
        #[arg(required = true)]
        ids: Vec<RegistrationId>,
    },
}

pub(crate) async fn run(command: RegistrationCommand, context: &Context) -> Result {
    let client = command.service.client(context)?;
    match command.action {
        Action::List { group, top } => list(&client, group, top, context).await,
        Action::Show { id } => context.output.item(client.registrations().get(&id).await?),
        Action::Delete { ids } => {
            for id in &ids {
                client.registrations().delete(id).await?;
                context.output.note(format_args!("deleted {id}"));
            }
            Ok(())
        }
    }
}

async fn list(
    client: &ServiceClient,
    group: Option<EnrollmentGroupId>,
    top: Option<usize>,
    context: &Context,
) -> Result {
    let registrations = client.registrations();
    let mut printed = context.output.list(COLUMNS);
    let mut left = top.unwrap_or(usize::MAX);
    if let Some(group) = group {
        let mut pager = registrations.in_group(&group);
        while left > 0 {
            let Some(state) = pager.try_next().await? else {
                break;
            };
            printed.push(record(&state, Some(&group))?)?;
            left -= 1;
        }
    } else {
        let mut all = registrations.all();
        while left > 0 {
            let Some(found) = all.try_next().await? else {
                break;
            };
            printed.push(record(&found.state, found.group.as_ref())?)?;
            left -= 1;
        }
    }
    printed.finish()
}

/// The record with its group, which the service does not repeat in it.
fn record(state: &impl serde::Serialize, group: Option<&EnrollmentGroupId>) -> Result<Value> {
    let mut value = serde_json::to_value(state)?;
    if let Some(group) = group {
        add(&mut value, "enrollmentGroupId", json!(group));
    }
    Ok(value)
}
