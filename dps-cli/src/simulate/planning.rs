//! `dps simulate --plan`: the plan, the number of instances and hubs for a given time, and a comparison of back-offs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::limits::{DEVICES_PER_HUB, Tier};
use super::plan::{Backoff, Outcome, Plan};
use super::report::{Report, Series};
use super::{Simulate, duration, words, write_reports};
use crate::context::Context;
use crate::document::add;
use crate::failure::{Exit, Failure, Result};
use crate::format::Format;

/// The services of a plan.
#[derive(Args)]
#[command(next_help_heading = "Plan options")]
pub(super) struct PlanOptions {
    /// Number of instances of DPS
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), requires = "plan")]
    instances: u32,
    /// Number of hubs; by default as many as the devices need, at a million each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), requires = "plan")]
    hubs: Option<u32>,
    /// Tier of the hubs
    #[arg(
        long,
        value_enum,
        default_value = "s3",
        value_name = "TIER",
        requires = "plan"
    )]
    tier: Tier,
    /// Units of each hub
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=200), requires = "plan")]
    units: u32,
    /// Find the number of instances and hubs with which every device is connected within this time
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "plan", conflicts_with_all = ["instances", "hubs"])]
    within: Option<Duration>,
    /// Compare the back-off of the SDK with two others, at the beginning of the fleet
    #[arg(long, requires = "plan")]
    compare: bool,
}

/// The fleet of a comparison: a back-off that does not wait needs too many requests for a large one.
const COMPARED: u64 = 20_000;

pub(super) fn run(simulate: &Simulate, context: &Context) -> Result<ExitCode> {
    let plan = match simulate.planning.within {
        Some(within) => fitting(simulate, within)?,
        None => {
            let needed =
                u32::try_from(simulate.devices.div_ceil(DEVICES_PER_HUB)).unwrap_or(u32::MAX);
            plan(
                simulate,
                simulate.planning.instances,
                simulate.planning.hubs.unwrap_or(needed),
            )
        }
    };
    let outcome = finished(&plan)?;
    let mut fields = describe(&plan, &outcome);
    if simulate.planning.compare {
        add(&mut fields, "backoffs", compare(&plan)?);
    }
    let report = Report::new("Plan of a fleet", fields, series(&outcome));
    write_reports(simulate, &report)?;
    match context.output.format() {
        Format::Table => print!("{}", report.text()),
        _ => context.output.item(report.json())?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn plan(simulate: &Simulate, instances: u32, hubs: u32) -> Plan {
    let options = &simulate.planning;
    Plan {
        devices: simulate.devices,
        pattern: simulate.arrival,
        over: simulate.over,
        instances,
        rate: simulate.rate,
        hubs,
        tier: options.tier,
        units: options.units,
        backoff: Backoff::Sdk,
        seed: simulate.seed,
    }
}

/// The smallest number of instances, and then of hubs, with which the fleet is connected in time.
fn fitting(simulate: &Simulate, within: Duration) -> Result<Plan> {
    const MOST: u32 = 10_000;
    let fits = |instances, hubs| {
        let outcome = plan(simulate, instances, hubs).run();
        outcome.is_some_and(|outcome| outcome.timeline.end() <= within)
    };
    let impossible = || {
        Failure::new(
            Exit::Failure,
            format!(
                "no number of instances and hubs connects this fleet within {}",
                words(within)
            ),
        )
        .with_hint(
            "allow more time, a higher --tier, more --units, or an --arrival over a shorter time",
        )
    };
    let needed = u32::try_from(simulate.devices.div_ceil(DEVICES_PER_HUB)).unwrap_or(MOST);
    let instances = smallest(1, MOST, |instances| fits(instances, MOST)).ok_or_else(impossible)?;
    let hubs = smallest(needed, MOST, |hubs| fits(instances, hubs)).ok_or_else(impossible)?;
    Ok(plan(simulate, instances, hubs))
}

/// The smallest number in a range for which the test succeeds: a larger number never makes it worse.
fn smallest(first: u32, last: u32, test: impl Fn(u32) -> bool) -> Option<u32> {
    let (mut low, mut high) = (first, first);
    while !test(high) {
        if high >= last {
            return None;
        }
        low = high + 1;
        high = (high * 2).min(last);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match test(middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    Some(high)
}

fn finished(plan: &Plan) -> Result<Outcome> {
    plan.run()
        .ok_or_else(|| Failure::new(Exit::Failure, "the fleet is not connected within two years"))
}

fn describe(plan: &Plan, outcome: &Outcome) -> Value {
    let milestones: serde_json::Map<String, Value> = outcome
        .timeline
        .milestones()
        .iter()
        .map(|(percent, at)| (format!("{percent} % connected after"), words(*at).into()))
        .collect();
    json!({
        "devices": plan.devices,
        "instances": plan.instances,
        "hubs": plan.hubs,
        "registrationsPerMinute": u64::from(plan.rate) * u64::from(plan.instances),
        "seconds": outcome.timeline.end().as_secs_f64(),
        "connected": milestones,
        "registrationRequests": outcome.requests,
        "refusedRequests": outcome.refused,
        "polls": outcome.polls,
        "peakRequestsPerSecond": outcome.peak_per_second,
        "longestQueueAtHubs": outcome.longest_queue,
    })
}

/// What each back-off costs, for a part of the fleet.
fn compare(plan: &Plan) -> Result<Value> {
    let mut rows = Vec::new();
    for (name, backoff) in [
        ("SDK: Retry-After, and a growing random part", Backoff::Sdk),
        ("Retry-After only", Backoff::RetryAfterOnly),
        ("5 seconds, without Retry-After", Backoff::FiveSeconds),
    ] {
        let part = Plan {
            backoff,
            devices: plan.devices.min(COMPARED),
            ..plan.clone()
        };
        let outcome = finished(&part)?;
        rows.push(json!({
            "backoff": name,
            "devices": part.devices,
            "seconds": outcome.timeline.end().as_secs_f64(),
            "requests": outcome.requests,
            "refused": outcome.refused,
            "peakPerSecond": outcome.peak_per_second,
        }));
    }
    Ok(rows.into())
}

fn series(outcome: &Outcome) -> Vec<Series> {
    let points = |value: fn(super::timeline::Moment) -> u64| {
        outcome
            .timeline
            .moments()
            .map(|moment| (moment.at.as_secs_f64(), value(moment) as f64))
            .collect()
    };
    vec![
        Series {
            name: "registered",
            points: points(|moment| moment.registered),
        },
        Series {
            name: "connected",
            points: points(|moment| moment.connected),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_number_is_found() {
        for answer in [1, 2, 3, 7, 8, 9, 99, 100] {
            assert_eq!(smallest(1, 100, |number| number >= answer), Some(answer));
        }
        assert_eq!(smallest(1, 100, |_| false), None);
        assert_eq!(smallest(5, 100, |_| true), Some(5));
    }
}
