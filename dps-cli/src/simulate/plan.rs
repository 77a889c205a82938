//! A fleet in virtual time: how long it takes until every device is registered and connected, and what it costs.
//!
//! Devices in the same state are counted, not simulated one by one. Their waits are computed by the SDK's own code, at many
//! values of its random part, so that a million devices need no more memory than a thousand.

use std::time::Duration;

use dps_device::Pace;

use super::arrival::Pattern;
use super::cohort::{Cohorts, LEVELS, Queue, share};
use super::limits::{LONGEST, Tier};
use super::random::Random;
use super::timeline::{Moment, Timeline};

/// The window in which the service counts registrations.
const WINDOW: Duration = Duration::from_secs(60);
/// The wait between polls that the service asks for. Source: recorded answers of the service.
const POLL_RETRY_AFTER: Duration = Duration::from_secs(3);
const FOREVER: Duration = Duration::MAX;

/// What happens after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backoff {
    /// The SDK: Retry-After, and a random part that grows with each failure.
    Sdk,
    /// Retry-After alone: all devices come back at the same moment.
    RetryAfterOnly,
    /// Five seconds: `Retry-After` is ignored.
    FiveSeconds,
}

/// The fleet and the services that it uses.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) devices: u64,
    pub(super) pattern: Pattern,
    pub(super) over: Duration,
    pub(super) instances: u32,
    /// Registrations per minute of one instance.
    pub(super) rate: u32,
    pub(super) hubs: u32,
    pub(super) tier: Tier,
    pub(super) units: u32,
    pub(super) backoff: Backoff,
    pub(super) seed: u64,
}

/// The result.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) timeline: Timeline,
    /// Registration requests, those that were refused, and polls.
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) polls: u64,
    /// The most requests in one second.
    pub(super) peak_per_second: u64,
    /// The longest queue at the registries of the hubs.
    pub(super) longest_queue: u64,
}

impl Plan {
    /// Runs the fleet. `None` if it does not end within two years.
    pub(super) fn run(&self) -> Option<Outcome> {
        let step = self.step();
        let ticks =
            |duration: Duration| (duration.as_secs_f64() / step.as_secs_f64()).round() as u64;
        let mut random = Random::new(self.seed);
        let starts = self.starts(step, &mut random);
        let mut not_started = starts.as_slice();
        let paces = paces();
        let poll = Pace::new(dps_device::ProvisioningClient::DEFAULT_MIN_POLL_INTERVAL);
        let poll_wait = |draw: f64| {
            poll.wait(Some(POLL_RETRY_AFTER), draw, FOREVER)
                .unwrap_or(POLL_RETRY_AFTER)
        };

        let mut waiting = Cohorts::new(ticks(WINDOW + WINDOW + Duration::from_secs(10)));
        let mut polling = Cohorts::new(ticks(Duration::from_secs(10)));
        let seconds = step.as_secs_f64();
        let hubs = f64::from(self.hubs);
        let mut registry =
            Queue::new(hubs * self.tier.registry_per_minute(self.units) / 60.0 * seconds);
        let mut connections =
            Queue::new(hubs * self.tier.connections_per_second(self.units) * seconds);

        let mut outcome = Outcome {
            timeline: Timeline::new(self.devices),
            requests: 0,
            refused: 0,
            polls: 0,
            peak_per_second: 0,
            longest_queue: 0,
        };
        let budget_per_window = u64::from(self.rate) * u64::from(self.instances);
        let (mut budget, mut registered, mut connected) = (0, 0, 0);
        let (mut this_second, mut polls) = (0, 0.0);
        for tick in 0..ticks(LONGEST) {
            let now = step.mul_f64(tick as f64);
            if tick.is_multiple_of(ticks(WINDOW)) {
                budget = budget_per_window;
            }
            let mut due = waiting.take(tick);
            let starting = not_started.partition_point(|start| *start <= tick);
            not_started = not_started.split_at(starting).1;
            due[0] += starting as u64;
            let arrived: u64 = due.iter().sum();
            let admitted = arrived.min(budget);
            budget -= admitted;
            outcome.requests += arrived;
            outcome.refused += arrived - admitted;
            this_second = if tick.is_multiple_of(ticks(Duration::from_secs(1))) {
                arrived
            } else {
                this_second + arrived
            };
            outcome.peak_per_second = outcome.peak_per_second.max(this_second);

            if arrived > admitted {
                let rest = WINDOW.saturating_sub(step.mul_f64((tick % ticks(WINDOW)) as f64));
                let accepted = share(admitted, &due, &mut random);
                for (level, (due, accepted)) in due.iter().zip(accepted).enumerate() {
                    let next = (level + 1).min(LEVELS - 1);
                    #[expect(clippy::indexing_slicing, reason = "less than LEVELS")]
                    let wait = |draw| self.backoff.wait(&paces[next], rest, draw);
                    waiting.schedule(due - accepted, next, tick, step, &mut random, wait);
                }
            }
            // The hubs create the devices one after the other; then each device learns it at its next poll.
            let was_empty = registry.is_empty();
            registry.add(admitted);
            let assigned = registry.serve();
            outcome.longest_queue = outcome.longest_queue.max(registry.length());
            polls += registry.length() as f64 * seconds / poll_wait(0.5).as_secs_f64();
            outcome.polls += assigned;
            let wait = |draw: f64| {
                if was_empty {
                    poll_wait(draw)
                } else {
                    poll_wait(0.5).mul_f64(draw)
                }
            };
            polling.schedule(assigned, 0, tick, step, &mut random, wait);
            let known: u64 = polling.take(tick).iter().sum();
            registered += known;
            connections.add(known);
            connected += connections.serve();
            outcome.timeline.add(Moment {
                at: now,
                registered,
                connected,
            });
            if connected == self.devices {
                outcome.polls += polls as u64;
                return Some(outcome);
            }
        }
        None
    }

    /// Short steps for short simulations.
    fn step(&self) -> Duration {
        let minutes = self.devices / (u64::from(self.rate) * u64::from(self.instances)).max(1);
        match minutes.max(self.over.as_secs() / 60) {
            0..=180 => Duration::from_millis(100),
            _ => Duration::from_secs(1),
        }
    }

    /// The steps in which the devices start, in their order.
    fn starts(&self, step: Duration, random: &mut Random) -> Vec<u64> {
        let start = |index| {
            let start = self.pattern.start(index, self.devices, self.over, random);
            (start.as_secs_f64() / step.as_secs_f64()) as u64
        };
        let mut starts: Vec<u64> = (0..self.devices).map(start).collect();
        starts.sort_unstable();
        starts
    }
}

impl Backoff {
    fn wait(self, pace: &Pace, retry_after: Duration, draw: f64) -> Duration {
        match self {
            Self::Sdk => pace
                .wait(Some(retry_after), draw, FOREVER)
                .unwrap_or(retry_after),
            Self::RetryAfterOnly => retry_after.max(Duration::from_secs(1)),
            Self::FiveSeconds => Duration::from_secs(5),
        }
    }
}

/// The pace of a device after 0, 1, 2, … refusals in a row.
fn paces() -> Vec<Pace> {
    let mut pace = Pace::new(dps_device::ProvisioningClient::DEFAULT_MIN_POLL_INTERVAL);
    let mut paces = Vec::with_capacity(LEVELS);
    for _ in 0..LEVELS {
        paces.push(pace.clone());
        pace.throttled();
    }
    paces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(devices: u64) -> Plan {
        Plan {
            devices,
            pattern: Pattern::AtOnce,
            over: Duration::ZERO,
            instances: 1,
            rate: 1000,
            hubs: 1,
            tier: Tier::S3,
            units: 1,
            backoff: Backoff::Sdk,
            seed: 1,
        }
    }

    #[test]
    fn a_small_fleet_needs_one_request_and_one_poll_each() {
        let outcome = plan(900).run().unwrap();
        assert_eq!((outcome.requests, outcome.refused), (900, 0));
        let end = outcome.timeline.end();
        // 5,000 registry operations a minute, then a poll after 3 to 4 seconds.
        assert!(
            end > Duration::from_secs(3) && end < Duration::from_secs(20),
            "{end:?}"
        );
    }

    #[test]
    fn ten_thousand_devices_need_ten_windows() {
        let outcome = plan(10_000).run().unwrap();
        let end = outcome.timeline.end().as_secs_f64() / 60.0;
        assert!((9.0..11.0).contains(&end), "{end} minutes");
        assert_eq!(outcome.requests - outcome.refused, 10_000);
    }

    #[test]
    fn ten_instances_are_ten_times_as_fast_and_a_slow_hub_is_the_limit() {
        let fast = Plan {
            instances: 10,
            ..plan(10_000)
        }
        .run()
        .unwrap();
        assert!(
            fast.timeline.end() < Duration::from_secs(180),
            "{:?}",
            fast.timeline.end()
        );
        let slow = Plan {
            instances: 10,
            tier: Tier::S1,
            ..plan(10_000)
        }
        .run()
        .unwrap();
        // 100 registry operations a minute.
        let minutes = slow.timeline.end().as_secs_f64() / 60.0;
        assert!((95.0..105.0).contains(&minutes), "{minutes}");
        assert!(slow.longest_queue > 5_000);
    }

    #[test]
    fn a_million_devices_are_planned_and_a_short_fixed_wait_costs_more_requests() {
        let sdk = plan(1_000_000).run().unwrap();
        let hours = sdk.timeline.end().as_secs_f64() / 3600.0;
        assert!((16.0..18.0).contains(&hours), "{hours}");
        let small = plan(5_000).run().unwrap();
        let fixed = Plan {
            backoff: Backoff::FiveSeconds,
            ..plan(5_000)
        }
        .run()
        .unwrap();
        assert!(
            fixed.refused > 3 * small.refused,
            "{} {}",
            fixed.refused,
            small.refused
        );
    }

    #[test]
    fn devices_that_start_over_months_need_no_more_memory() {
        let days = 300;
        let outcome = Plan {
            pattern: Pattern::Ramp,
            over: Duration::from_secs(days * 24 * 3600),
            ..plan(10)
        }
        .run()
        .unwrap();
        let end = outcome.timeline.end().as_secs() / (24 * 3600);
        assert_eq!((end, outcome.requests), (days * 9 / 10, 10));
    }

    #[test]
    fn the_same_seed_gives_the_same_result() {
        let (first, second) = (plan(3_000).run().unwrap(), plan(3_000).run().unwrap());
        assert_eq!(
            (first.requests, first.timeline.end()),
            (second.requests, second.timeline.end())
        );
    }
}
