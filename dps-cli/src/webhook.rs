//! `dps webhook check`: calls a custom allocation webhook as DPS does, and explains how DPS interprets its answer.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dps_allocation::{Inspection, WebhookClient};
use dps_types::AllocationRequest;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::format::Format;
use crate::input::{self, InputFile, TextOrFile};
use crate::service::Network;

/// A request as DPS posts it.
const REQUEST: &str = r#"{
  "enrollmentGroup": { "enrollmentGroupId": "toasters", "attestation": { "type": "symmetricKey" }, "allocationPolicy": "custom" },
  "deviceRuntimeContext": { "registrationId": "toaster-1", "symmetricKey": {}, "payload": { "model": "toaster" } },
  "linkedHubs": ["hub-a.azure-devices.net", "hub-b.azure-devices.net"]
}"#;

#[derive(Args)]
pub(crate) struct WebhookCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Call it once, and explain the answer
    Check(Check),
}

/// Exit code 0 if DPS would assign the device, 7 otherwise.
#[derive(Args)]
struct Check {
    /// URL of the webhook, or @FILE, since it contains the function key
    url: TextOrFile,
    /// Request to post: the log of a webhook contains those for an enrollment. An example by default
    #[arg(long, value_name = "FILE")]
    request: Option<InputFile>,
    #[command(flatten)]
    network: Network,
}

pub(crate) async fn run(command: WebhookCommand, context: &Context) -> Result<ExitCode> {
    let Action::Check(check) = command.action;
    let request = match &check.request {
        Some(file) => read_request(file)?,
        None => serde_json::from_str(REQUEST)?,
    };
    let client = client(&check.network, context)?;
    let url = input::value_or_file(&check.url)?;
    let inspection = inspect(&client, &url, &request).await?;
    match context.output.format() {
        Format::Table => println!("{inspection}"),
        _ => context.output.item(describe(&inspection))?,
    }
    Ok(match inspection.outcome().hub() {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(Exit::Partial as u8),
    })
}

pub(crate) fn client(network: &Network, context: &Context) -> Result<WebhookClient> {
    Ok(match network.roots(context)? {
        Some(roots) => WebhookClient::with_roots(roots),
        None => WebhookClient::new(),
    })
}

pub(crate) async fn inspect(
    client: &WebhookClient,
    url: &str,
    request: &AllocationRequest,
) -> Result<Inspection> {
    let inspection = client.inspect(url, request).await;
    inspection.map_err(|error| Failure::usage("the webhook cannot be called").because(&error))
}

/// An inspection as a document.
pub(crate) fn describe(inspection: &Inspection) -> Value {
    let outcome = inspection.outcome();
    json!({
        "status": inspection.status(),
        "milliseconds": inspection.elapsed().as_millis() as u64,
        "hub": outcome.hub(),
        "response": outcome.response(),
        "errorCode": outcome.error_code(),
        "errorMessage": outcome.error_message(),
        "reason": outcome.reason(),
        "remarks": inspection.remarks().collect::<Vec<_>>(),
    })
}

fn read_request(file: &InputFile) -> Result<AllocationRequest> {
    dps_types::json::from_slice(&input::read(file)?)
        .map_err(|error| Failure::from(error).about(file.display()))
}
