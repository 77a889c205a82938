//! What happened to the devices of a simulated fleet.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dps_device::{Error, ErrorKind};
use serde_json::{Value, json};

use super::report::{Report, Series};
use crate::device::TransportName;

/// The most kinds of failures that a report contains.
const MOST_FAILURES: usize = 20;
/// The most points of a plot.
const MOST_POINTS: usize = 2000;

/// The counts of a fleet. Every device writes to them.
#[derive(Debug)]
pub(super) struct Stats {
    devices: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    started: u64,
    assigned: u64,
    failed: u64,
    requests: u64,
    polls: u64,
    throttled: u64,
    retried: u64,
    /// In seconds.
    latencies: Vec<f32>,
    hubs: BTreeMap<String, u64>,
    transports: BTreeMap<String, u64>,
    failures: BTreeMap<String, u64>,
    /// Seconds, assigned and active devices.
    points: Vec<(f64, u64, u64)>,
}

impl Stats {
    pub(super) fn new(devices: u64) -> Self {
        Self {
            devices,
            counts: Mutex::default(),
        }
    }

    pub(super) fn started(&self) {
        self.counts().started += 1;
    }

    pub(super) fn requested(&self) {
        self.counts().requests += 1;
    }

    pub(super) fn assigning(&self) {
        self.counts().polls += 1;
    }

    pub(super) fn retrying(&self, error: &Error) {
        let mut counts = self.counts();
        counts.retried += 1;
        counts.throttled += u64::from(error.kind() == ErrorKind::Throttled);
    }

    pub(super) fn assigned(&self, latency: Duration, hub: &str, transport: TransportName) {
        let mut counts = self.counts();
        counts.assigned += 1;
        counts.latencies.push(latency.as_secs_f32());
        *counts.hubs.entry(hub.to_owned()).or_default() += 1;
        *counts.transports.entry(transport.to_string()).or_default() += 1;
    }

    pub(super) fn failed(&self, error: &Error) {
        let mut counts = self.counts();
        counts.failed += 1;
        // Tracking ids and names differ: the kind and the code group the failures.
        let code = error.error_details().and_then(|details| details.error_code);
        let name = code.map_or_else(
            || format!("{:?}", error.kind()),
            |code| format!("{:?} {code}", error.kind()),
        );
        if counts.failures.len() < MOST_FAILURES || counts.failures.contains_key(&name) {
            *counts.failures.entry(name).or_default() += 1;
        }
    }

    pub(super) fn finished(&self) -> u64 {
        let counts = self.counts();
        counts.assigned + counts.failed
    }

    /// The devices that were not assigned.
    pub(super) fn unfinished(&self) -> u64 {
        self.devices - self.counts().assigned
    }

    pub(super) fn sample(&self, now: Duration) {
        let mut counts = self.counts();
        let active = counts.started - counts.assigned - counts.failed;
        let point = (now.as_secs_f64(), counts.assigned, active);
        counts.points.push(point);
        if counts.points.len() > MOST_POINTS {
            let mut index = 0;
            counts.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// The state in one line.
    pub(super) fn line(&self, now: Duration) -> String {
        let counts = self.counts();
        let active = counts.started - counts.assigned - counts.failed;
        let rate = counts.assigned as f64 * 60.0 / now.as_secs_f64().max(1.0);
        format!(
            "{} assigned, {active} active, {} failed, {} throttled, {rate:.0}/min, median {:.1} s",
            counts.assigned,
            counts.failed,
            counts.throttled,
            percentile(&mut counts.latencies.clone(), 50.0)
        )
    }

    pub(super) fn report(&self, elapsed: Duration) -> Report {
        let counts = self.counts();
        let mut latencies = counts.latencies.clone();
        let mut at = |percent| f64::from(percentile(&mut latencies, percent));
        let fields = json!({
            "devices": self.devices,
            "assigned": counts.assigned,
            "failed": counts.failed,
            "notFinished": self.devices - counts.assigned - counts.failed,
            "seconds": elapsed.as_secs_f64(),
            "assignedPerMinute": counts.assigned as f64 * 60.0 / elapsed.as_secs_f64().max(0.001),
            "latencySeconds": {"p50": at(50.0), "p90": at(90.0), "p99": at(99.0), "max": at(100.0)},
            "registrationRequests": counts.requests,
            "polls": counts.polls,
            "retries": counts.retried,
            "throttled": counts.throttled,
            "hubs": object(&counts.hubs),
            "transports": object(&counts.transports),
            "failures": object(&counts.failures),
        });
        let points = |value: fn(&(f64, u64, u64)) -> u64| {
            counts
                .points
                .iter()
                .map(|point| (point.0, value(point) as f64))
                .collect()
        };
        let series = vec![
            Series {
                name: "assigned",
                points: points(|point| point.1),
            },
            Series {
                name: "active",
                points: points(|point| point.2),
            },
        ];
        Report::new("Simulation of a fleet", fields, series)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn object(counts: &BTreeMap<String, u64>) -> Value {
    counts
        .iter()
        .map(|(name, count)| (name.clone(), Value::from(*count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The value below which a percentage of the values lies (nearest rank); 0 without values.
fn percentile(values: &mut [f32], percent: f64) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    let value = values.get(rank.clamp(1, values.len().max(1)) - 1);
    value.copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(percentile(&mut values, 50.0), 3.0);
        assert_eq!(percentile(&mut values, 100.0), 5.0);
        assert_eq!(percentile(&mut values, 1.0), 1.0);
        assert_eq!(percentile(&mut [], 50.0), 0.0);
    }
}
