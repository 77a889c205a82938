//! Tests of clients and emulator together: kills, cut connections, bad servers, floods, full disks, damaged files, wrong clocks,
//! storms, soaks.
//!
//! usage: `torture KIND [--minutes N] [--seed N]`, where KIND is one of the names below or `all`. Without `--minutes` a kind runs in
//! its short form. Exit code 1 if it finds a fault.

mod clocks;
mod common;
mod cuts;
mod damage;
mod floods;
mod kills;
mod servers;
mod soak;
mod storm;

use std::process::ExitCode;
use std::time::Instant;

use common::Result;
use common::options::Options;
use common::report::Report;
use tokio::signal::unix::{SignalKind, signal};

/// The kinds, in the order of `all`.
const KINDS: [&str; 8] = [
    "kills", "cuts", "servers", "floods", "storm", "damage", "clocks", "soak",
];

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(ended) = common::emulator::host(&arguments).await {
        return Ok(ended);
    }
    if let Some(ended) = dps_benches::soak::host(&arguments).await {
        return match ended {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error.to_string().into()),
        };
    }
    let Some((kind, rest)) = arguments.split_first() else {
        return Err(format!(
            "usage: torture all|{} [--minutes N] [--seed N]",
            KINDS.join("|")
        )
        .into());
    };
    let options = Options::parse(rest)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let kinds: Vec<&str> = match kind.as_str() {
        "all" => KINDS.to_vec(),
        one => vec![one],
    };
    let mut is_clean = true;
    for kind in kinds {
        let start = Instant::now();
        println!("{kind} (seed {})", options.seed);
        // After a signal the processes, mounts and files of the run are removed.
        let report = tokio::select! {
            report = Box::pin(run(kind, &options)) => report?,
            _ = tokio::signal::ctrl_c() => return Err("interrupted".into()),
            _ = terminate.recv() => return Err("terminated".into()),
            _ = hang_up.recv() => return Err("the terminal was closed".into()),
        };
        println!("{report}");
        println!("  {:<44} {:.0} s", "time", start.elapsed().as_secs_f64());
        is_clean &= report.is_clean();
    }
    Ok(match is_clean {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn run(kind: &str, options: &Options) -> Result<Report> {
    match kind {
        "kills" => kills::run(options).await,
        "cuts" => cuts::run(options).await,
        "servers" => servers::run(options).await,
        "floods" => floods::run(options).await,
        "storm" => storm::run(options).await,
        "damage" => damage::run(options).await,
        "clocks" => clocks::run(options).await,
        "soak" => soak::run(options).await,
        _ => Err(format!(
            "'{kind}' is not a valid kind: expected {}",
            KINDS.join(", ")
        )
        .into()),
    }
}
