//! The options of `dps simulate`, for the targets of `fuzz/`.

use std::time::Duration;

use clap::Parser;

use super::{Simulate, planning};

/// The command line of `simulate` alone.
#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    simulate: Simulate,
}

/// A time such as 90s, 10m, 2h or 1d.
pub fn duration(text: &str) -> Option<Duration> {
    super::duration(text).ok()
}

/// Reads options. Returns the number of devices and, if the fleet is small, of the registrations that a plan admits.
pub fn simulate(options: &[&str]) -> Option<(u64, Option<u64>)> {
    let words = ["simulate"].iter().chain(options);
    let simulate = CommandLine::try_parse_from(words).ok()?.simulate;
    let devices = simulate.devices;
    let is_small = devices <= 200 && simulate.over <= Duration::from_secs(7200);
    let outcome = is_small
        .then(|| planning::plan(&simulate, 1, 1).run())
        .flatten();
    let admitted = outcome.map(|outcome| outcome.requests - outcome.refused);
    Some((devices, admitted))
}
