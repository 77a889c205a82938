//! `dps policy test`: which hub a policy chooses for recorded requests.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use dps_allocation::PolicyTest;
use dps_allocation::policies::{EvenlyWeighted, Sticky};
use dps_types::AllocationRequest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Exit, Result};
use crate::input::{self, InputFile, TextOrFile};
use crate::output::Column;
use crate::service::Network;
use crate::webhook;

const COLUMNS: &[Column] = &[
    ("REGISTRATION ID", "/registrationId"),
    ("HUB", "/hub"),
    ("EXPECTED", "/expectedHub"),
    ("REASON", "/errorMessage"),
];

#[derive(Args)]
pub(crate) struct PolicyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Pass recorded requests to a policy or a webhook, and compare the hubs with the expected ones
    Test(Test),
}

/// Exit code 0 if every request is assigned, and to the expected hub if there is one; 7 otherwise.
#[derive(Args)]
struct Test {
    /// Recorded requests: one JSON document per line, or one document. A line may have the member expectedHub
    file: InputFile,
    /// Webhook to call: its URL, or @FILE
    #[arg(long, value_name = "URL", required_unless_present = "policy")]
    url: Option<TextOrFile>,
    /// Policy to test instead of a webhook
    #[arg(long, value_enum, value_name = "POLICY", conflicts_with = "url")]
    policy: Option<Policy>,
    #[command(flatten)]
    network: Network,
}

#[derive(Clone, Copy, ValueEnum)]
enum Policy {
    /// Evenly weighted
    Hashed,
    /// The present hub of a device, and evenly weighted for new devices
    Sticky,
}

/// A recorded request, and the hub that it is expected to get.
#[derive(Deserialize)]
struct Recorded {
    #[serde(rename = "expectedHub")]
    expected_hub: Option<String>,
    #[serde(flatten)]
    request: Value,
}

/// A request that was read, and the hub that it is expected to get.
pub(crate) type Request = (AllocationRequest, Option<String>);

/// Reads recorded requests: JSON documents one after the other.
pub(crate) fn requests(text: &str) -> impl Iterator<Item = Result<Request>> {
    let recorded = serde_json::Deserializer::from_str(text).into_iter::<Recorded>();
    recorded.map(|recorded| {
        let recorded = recorded?;
        let request = serde_json::from_value(recorded.request)?;
        Ok((request, recorded.expected_hub))
    })
}

pub(crate) async fn run(command: PolicyCommand, context: &Context) -> Result<ExitCode> {
    let Action::Test(test) = command.action;
    let text = input::read_text(&test.file)?;
    let client = webhook::client(&test.network, context)?;
    let url = test.url.as_ref().map(input::value_or_file).transpose()?;
    let mut list = context.output.list(COLUMNS);
    let (mut hubs, mut failed) = (BTreeMap::<String, usize>::new(), 0);
    for request in requests(&text) {
        let (request, expected) = request.map_err(|failure| failure.about(test.file.display()))?;
        let id = request.device_runtime_context.registration_id.clone();
        let (hub, message) = match &url {
            Some(url) => {
                let inspection = webhook::inspect(&client, url, &request).await?;
                let outcome = inspection.outcome();
                (
                    outcome.hub().map(ToString::to_string),
                    outcome.error_message().map(str::to_owned),
                )
            }
            None => {
                let test_run = PolicyTest::new(request);
                let outcome = match test.policy {
                    Some(Policy::Sticky) => test_run.run(Sticky::or(EvenlyWeighted::new())).await,
                    _ => test_run.run(EvenlyWeighted::new()).await,
                };
                (
                    outcome.hub().map(ToString::to_string),
                    outcome.error_message().map(str::to_owned),
                )
            }
        };
        let as_expected = hub.is_some() && (expected.is_none() || hub == expected);
        failed += usize::from(!as_expected);
        if let Some(hub) = &hub {
            *hubs.entry(hub.clone()).or_default() += 1;
        }
        list.push(json!({
            "registrationId": id, "hub": hub, "expectedHub": expected, "errorMessage": message, "passed": as_expected,
        }))?;
    }
    list.finish()?;
    let total: usize = hubs.values().sum();
    for (hub, count) in &hubs {
        let percent = *count as f64 * 100.0 / total as f64;
        context
            .output
            .note(format_args!("{hub}: {count} ({percent:.1} %)"));
    }
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(Exit::Partial as u8),
    })
}
