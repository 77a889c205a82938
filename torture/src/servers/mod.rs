//! Servers that do not follow the protocol, for every transport: each registration ends with an error of the expected kind, in time,
//! and with bounded memory.

mod amqp;
mod behind;
mod http;
mod mqtt;
mod script;
mod tls;
mod websocket;

use std::time::Duration;

use dps_benches::TransportKind;
use dps_device::{ErrorKind, SymmetricKeyAttestation};
use dps_types::SymmetricKey;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use crate::common::Result;
use crate::common::fleet::{Outcome, outcome};
use crate::common::options::Options;
use crate::common::report::Report;
use crate::common::usage::{highest, mib};
use script::{Layer, Script};
use tls::Identity;

/// The registrations at the same time.
const CONCURRENCY: usize = 32;
/// The limit for a request, and for a whole registration.
const REQUEST: Duration = Duration::from_secs(3);
const REGISTRATION: Duration = Duration::from_secs(4);
/// How many times as long they are in a second attempt, after one that ended at its limit unexpectedly.
const SLOWER: u32 = 5;
/// The servers without end at the same time, and the most memory by which they may grow this process.
const FLOODS: usize = 8;
const GROWTH: u64 = 24 * 1024 * 1024;

/// A server, and the error that a device must report.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) transport: TransportKind,
    pub(crate) layer: Layer,
    pub(crate) script: Script,
    pub(crate) expected: &'static [ErrorKind],
}

/// The error of a server that does not answer, or whose connections fail: it is retried until the limit.
const RETRIED: &[ErrorKind] = &[ErrorKind::Deadline];
const PROTOCOL: &[ErrorKind] = &[ErrorKind::Protocol];
const TLS: &[ErrorKind] = &[ErrorKind::Tls];
const UNAUTHORIZED: &[ErrorKind] = &[ErrorKind::Unauthorized];

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let identity = Identity::new()?;
    let cases = http::cases().into_iter().chain(mqtt::cases());
    let cases = cases.chain(websocket::cases()).chain(amqp::cases());
    let (floods, others): (Vec<Case>, Vec<Case>) = cases.partition(|case| case.script.is_endless());
    report.figure("servers", floods.len() + others.len());
    report.figure("servers that send without end", floods.len());

    let running = others.iter().map(|case| check(case, &identity));
    let mut running = stream::iter(running).buffer_unordered(CONCURRENCY);
    while let Some(fault) = running.next().await {
        fault?.into_iter().for_each(|fault| report.fault(fault));
    }
    let mut most = 0;
    for cases in floods.chunks(FLOODS) {
        let before = crate::common::usage::Usage::of(std::process::id());
        let all = join_all(cases.iter().map(|case| check(case, &identity)));
        let (outcomes, usage) = highest(std::process::id(), all).await;
        for fault in outcomes {
            fault?.into_iter().for_each(|fault| report.fault(fault));
        }
        let growth = usage.memory.saturating_sub(before.memory);
        most = most.max(growth);
        report.check(growth < GROWTH, || {
            let labels: Vec<String> = cases.iter().map(Case::label).collect();
            format!("the memory grew by {} at one of {labels:?}", mib(growth))
        });
    }
    report.figure(
        format!("growth of memory, the most of {FLOODS} servers"),
        mib(most),
    );
    report.part(
        "behind an emulator",
        Box::pin(behind::run(options, &identity)).await?,
    );
    Ok(report)
}

/// Registers at the server. Returns the fault, if there is one.
async fn check(case: &Case, identity: &Identity) -> Result<Option<String>> {
    let mut outcome = attempt(case, identity, 1).await?;
    if let Outcome::Failed {
        kind: ErrorKind::Deadline,
        ..
    } = outcome
        && !case.expected.contains(&ErrorKind::Deadline)
    {
        // A machine with other work may need more time.
        outcome = attempt(case, identity, SLOWER).await?;
    }
    Ok(match outcome {
        Outcome::Failed { kind, .. } if case.expected.contains(&kind) => None,
        other => Some(format!("{}: {other:?}", case.label())),
    })
}

/// Registers at the server, with limits that are this many times as long.
async fn attempt(case: &Case, identity: &Identity, times: u32) -> Result<Outcome> {
    let server = script::serve(case.layer, case.script.clone(), identity).await?;
    let who = SymmetricKeyAttestation::new("my-device".parse()?, SymmetricKey::generate());
    let client = case
        .transport
        .client(server.port(), "0ne00000001".parse()?, who)
        .with_roots(identity.roots()?)
        .with_request_timeout(REQUEST * times);
    let outcome = outcome(&client, REGISTRATION * times).await;
    if std::env::var_os("TORTURE_TRACE").is_some() {
        eprintln!("{}: {outcome:?}", case.label());
    }
    Ok(outcome)
}

impl Case {
    fn label(&self) -> String {
        format!("{}, {}", self.transport.name(), self.name)
    }
}
