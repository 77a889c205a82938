//! Connections that are closed, reset or stalled at every byte, in both directions, over every transport.
//!
//! A registration whose first connection has a fault succeeds with a later attempt. One whose every connection has it ends with its
//! time limit, and the next registration without a fault succeeds.

use std::time::Duration;

use dps_benches::TransportKind;
use dps_device::ErrorKind;
use futures_util::{StreamExt, stream};

use crate::common::Result;
use crate::common::emulator::Emulator;
use crate::common::fleet::{Fleet, Outcome, outcome};
use crate::common::options::Options;
use crate::common::proxy::{Action, Cut, Direction, Plan, Proxy};
use crate::common::report::Report;

/// The registrations at the same time. Most of them wait: for their time limits, and between two attempts.
const SHORT_CONCURRENCY: usize = 16;
const LONG_CONCURRENCY: usize = 384;
/// The bytes between two faults in the short form. It is a prime number, so that the offsets of the transports differ.
const SHORT_STEP: u64 = 211;
/// The limit for a request, and for a whole registration.
const REQUEST: Duration = Duration::from_secs(2);
const REGISTRATION: Duration = Duration::from_secs(20);
/// How many times as long they are in a second attempt, after one that ended at its limit unexpectedly.
const SLOWER: u32 = 5;
/// The limit for a registration whose every connection has the fault.
const HOPELESS: Duration = Duration::from_secs(3);

/// A fault at a byte of a transport.
#[derive(Debug, Clone, Copy)]
struct Case {
    number: usize,
    transport: TransportKind,
    plan: Plan,
}

/// The outcome of a case.
struct Done {
    faults: u64,
    bytes: u64,
    is_assigned: bool,
    /// The registration was repeated with longer limits.
    is_slow: bool,
    fault: Option<String>,
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let options = options.started(1);
    let mut report = Report::default();
    let mut random = options.random();
    let dir = tempfile::tempdir()?;
    let emulator = Emulator::start(&["--ephemeral"], &dir.path().join("log")).await?;
    let fleet = Fleet::enroll(&emulator).await?;
    let mut cases = Vec::new();
    let step = if options.is_long() { 1 } else { SHORT_STEP };
    for transport in TransportKind::ALL {
        let (up, down) = measure(&emulator, &fleet, transport).await?;
        report.figure(
            format!("{}: bytes to the server, to the client", transport.name()),
            format!("{up}, {down}"),
        );
        for (direction, length) in [(Direction::ToServer, up), (Direction::ToClient, down)] {
            for action in [Action::Close, Action::Reset, Action::Stall] {
                let first = random.below(step);
                for after in (first..=length).step_by(step as usize) {
                    let cut = Cut {
                        direction,
                        after,
                        action,
                    };
                    cases.push((transport, Plan::First(cut)));
                }
                // Every connection has the fault, so that the registration cannot succeed.
                let after = random.below(length);
                cases.push((
                    transport,
                    Plan::Every(Cut {
                        direction,
                        after,
                        action,
                    }),
                ));
            }
        }
    }
    // A long run that is too short for all of them has a random part of them.
    shuffle(&mut cases, &mut random);
    let total = cases.len();
    let numbered = cases.into_iter().enumerate();
    let running = numbered.map(|(number, (transport, plan))| {
        let case = Case {
            number,
            transport,
            plan,
        };
        one(&emulator, &fleet, case)
    });
    let concurrency = match options.is_long() {
        true => LONG_CONCURRENCY,
        false => SHORT_CONCURRENCY,
    };
    let mut running = stream::iter(running).buffer_unordered(concurrency);
    let (mut done, mut faults, mut bytes, mut assigned, mut slow) = (0, 0, 0, 0, 0);
    let mut failed = Vec::new();
    while let Some(ended) = running.next().await {
        let (case, ended) = ended?;
        done += 1;
        faults += ended.faults;
        bytes += ended.bytes;
        assigned += usize::from(ended.is_assigned);
        slow += usize::from(ended.is_slow);
        if ended.fault.is_some() {
            failed.push(case);
        }
        if !options.goes_on(done, total) {
            break;
        }
    }
    drop(running);
    // A machine that stood still for a while fails many at the same time. A fault of the client or the emulator is found again.
    report.figure("repeated at the end", failed.len());
    let again = failed
        .into_iter()
        .map(|case| attempt(&emulator, &fleet, case, SLOWER));
    let mut again = stream::iter(again).buffer_unordered(SHORT_CONCURRENCY);
    while let Some(ended) = again.next().await {
        if let Some(fault) = ended?.fault {
            report.fault(fault);
        }
    }
    report.figure(
        "registrations with a fault, of all planned",
        format!("{done} of {total}"),
    );
    report.figure("connections cut, reset or stalled", faults);
    report.figure("bytes passed", bytes);
    report.figure("assigned, most of them by a later attempt", assigned);
    report.figure("repeated with longer limits", slow);
    report.check(faults > 0, || "no connection was cut".into());
    report.check(assigned > 0, || {
        "no registration was assigned by a later attempt".into()
    });
    Ok(report)
}

/// The bytes of a registration that nothing disturbs.
async fn measure(
    emulator: &Emulator,
    fleet: &Fleet,
    transport: TransportKind,
) -> Result<(u64, u64)> {
    let proxy = Proxy::start(emulator.port(transport), Plan::Never).await?;
    let name = format!("measured-{}", transport.name());
    fleet.register(&name, transport, proxy.port()).await?;
    Ok(proxy.bytes())
}

async fn one(emulator: &Emulator, fleet: &Fleet, case: Case) -> Result<(Case, Done)> {
    let mut done = attempt(emulator, fleet, case, 1).await?;
    if done.fault.is_some() {
        // A machine with other work may need more time. A fault of the client is found again.
        done = attempt(emulator, fleet, case, SLOWER).await?;
        done.is_slow = true;
    }
    Ok((case, done))
}

/// Registers through a proxy with the fault, with limits that are this many times as long.
async fn attempt(emulator: &Emulator, fleet: &Fleet, case: Case, times: u32) -> Result<Done> {
    let port = emulator.port(case.transport);
    let proxy = Proxy::start(port, case.plan).await?;
    let name = format!("cut-{}-{}", case.number, proxy.port());
    let client = fleet
        .client(&name, case.transport, proxy.port())?
        .with_request_timeout(REQUEST * times);
    let is_hopeless = matches!(case.plan, Plan::Every(_));
    let limit = if is_hopeless { HOPELESS } else { REGISTRATION };
    let outcome = outcome(&client, limit * times).await;
    let is_assigned = outcome == Outcome::Assigned;
    let is_expected = match &outcome {
        // The fault may be after the last byte that is necessary.
        Outcome::Assigned => true,
        Outcome::Failed { kind, last, .. } => {
            let is_lost = matches!(last, None | Some(ErrorKind::Connect));
            is_hopeless && *kind == ErrorKind::Deadline && is_lost
        }
        _ => false,
    };
    let mut fault = (!is_expected).then(|| format!("{case:?}: {outcome:?}"));
    if !is_assigned && let Err(error) = fleet.register(&name, case.transport, port).await {
        fault = Some(format!(
            "{case:?}: the next attempt without a fault: {error:#}"
        ));
    }
    let (up, down) = proxy.bytes();
    Ok(Done {
        faults: proxy.faults(),
        bytes: up + down,
        is_assigned,
        is_slow: false,
        fault,
    })
}

fn shuffle<T>(items: &mut [T], random: &mut crate::common::random::Random) {
    for index in (1..items.len()).rev() {
        items.swap(index, random.below(index as u64 + 1) as usize);
    }
}
