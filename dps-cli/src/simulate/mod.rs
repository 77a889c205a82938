//! `dps simulate`: a fleet of devices, in virtual time or against a real instance or an emulator.

#[cfg(test)]
mod agreement;
mod arrival;
mod cohort;
mod fleet;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod limits;
mod plan;
mod planning;
mod random;
mod report;
mod stats;
mod timeline;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::context::Context;
use crate::failure::{Failure, Result};
use arrival::Pattern;

/// With --plan nothing is sent: the waits of the devices, and the documented limits of DPS and of the hubs, are computed in
/// virtual time. Without it the devices register with an instance or an emulator, never faster than the limits unless
/// --unlimited is set.
#[derive(Args)]
pub(crate) struct Simulate {
    /// Number of devices; with --plan up to 10,000,000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    devices: u64,
    /// Compute the fleet in virtual time
    #[arg(long)]
    plan: bool,
    /// When the devices start
    #[arg(long, value_enum, default_value = "at-once", value_name = "PATTERN")]
    arrival: Pattern,
    /// Time over which the devices start, for ramp and poisson: such as 90s, 10m or 2h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    over: Duration,
    /// Registrations per minute of an instance
    #[arg(long, value_name = "N", default_value_t = limits::REGISTRATIONS_PER_MINUTE, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// File for a report: .html with plots, .json or .txt; repeat it for several
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    #[command(flatten)]
    planning: planning::PlanOptions,
    #[command(flatten)]
    fleet: fleet::FleetOptions,
}

pub(crate) async fn run(simulate: Simulate, context: &Context) -> Result<ExitCode> {
    match simulate.plan {
        true => planning::run(&simulate, context),
        false => fleet::run(&simulate, context).await,
    }
}

/// A time such as 90s, 10m, 2h or 1d.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len()),
    );
    let seconds = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("it is not a valid time, such as 90s, 10m, 2h or 1d".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "it is not a valid time, such as 90s, 10m, 2h or 1d".to_owned())?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|time| *time <= limits::LONGEST)
        .ok_or_else(|| "it is longer than 730d".to_owned())
}

/// A time in words, as `duration` reads it.
fn words(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7200.0 => format!("{:.1} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

/// Writes the reports that the options name.
fn write_reports(simulate: &Simulate, report: &report::Report) -> Result {
    for file in &simulate.report {
        let content = match file.extension().and_then(|extension| extension.to_str()) {
            Some("html") => report.html(),
            Some("json") => format!("{:#}\n", report.json()),
            Some("txt") => report.text(),
            _ => {
                return Err(
                    Failure::usage(format!("the format of {} is unknown", file.display()))
                        .with_hint("use .html, .json or .txt"),
                );
            }
        };
        std::fs::write(file, content).map_err(|error| {
            Failure::usage(format!("{} cannot be written", file.display())).because(&error)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_with_its_unit() {
        for (text, seconds) in [
            ("90", 90.0),
            ("90s", 90.0),
            ("1.5m", 90.0),
            ("2h", 7200.0),
            ("1d", 86_400.0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)));
        }
        for text in ["", "m", "1 week", "-1s", "1e999h", ".", "731d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_time_or_refused(text in ".{0,20}") {
            if let Ok(time) = duration(&text) {
                assert!(time <= limits::LONGEST);
            }
        }

        #[test]
        fn whole_seconds_are_read_back(seconds in 0_u32..1_000_000) {
            assert_eq!(duration(&format!("{seconds}s")), Ok(Duration::from_secs(seconds.into())));
        }
    }
}
