//! Counts of exchanges, for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use super::{Actor, Exchange};

/// The upper bounds of the latency buckets, in microseconds, with their labels in seconds.
const BUCKETS: [(u64, &str); 8] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (5_000, "0.005"),
    (25_000, "0.025"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (2_000_000, "2"),
    (10_000_000, "10"),
];
/// The most different reasons that are counted. Further ones are counted as `other`.
const MAX_REASONS: usize = 200;

/// Counts of exchanges.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// By outcome and transport.
    registrations: BTreeMap<(String, &'static str), u64>,
    /// By actor and transport.
    latencies: BTreeMap<(&'static str, &'static str), Latency>,
    /// By error code and reason.
    refusals: BTreeMap<(u32, String), u64>,
}

#[derive(Debug, Default)]
struct Latency {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    microseconds: u64,
}

/// A metric of the emulator that is not a count of exchanges.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: &'static str,
    /// Labels in the form `name="value"`, and the value.
    pub(crate) values: Vec<(String, u64)>,
}

impl Metrics {
    pub(super) fn count(&self, exchange: &Exchange) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = exchange.outcome.as_str();
        if exchange.actor == Actor::Device
            && matches!(exchange.request.as_str(), "register" | "status" | "connect")
            && matches!(outcome, "assigned" | "failed" | "disabled" | "refused")
        {
            let key = (outcome.to_owned(), exchange.transport);
            *counts.registrations.entry(key).or_default() += 1;
        }
        if exchange.status.is_some() {
            let actor = match exchange.actor {
                Actor::Device => "device",
                Actor::Operator => "operator",
                Actor::Connection => "connection",
            };
            let latency = counts
                .latencies
                .entry((actor, exchange.transport))
                .or_default();
            latency.add(exchange.microseconds);
        }
        if let Some(reason) = &exchange.reason {
            let key = (exchange.error_code.unwrap_or_default(), class(reason));
            let is_known = counts.refusals.contains_key(&key);
            let key = match is_known || counts.refusals.len() < MAX_REASONS {
                true => key,
                false => (0, "other".to_owned()),
            };
            *counts.refusals.entry(key).or_default() += 1;
        }
    }

    /// The counts in the text format of Prometheus.
    pub(crate) fn render(&self, samples: &[Sample]) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        head(
            &mut text,
            "dps_emulator_registrations_total",
            "counter",
            "Answers with the end of a registration, and refused registrations.",
        );
        for ((outcome, transport), count) in &counts.registrations {
            let _ = writeln!(
                text,
                "dps_emulator_registrations_total{{outcome=\"{}\",transport=\"{transport}\"}} {count}",
                escaped(outcome)
            );
        }
        let name = "dps_emulator_request_duration_seconds";
        head(&mut text, name, "histogram", "Time from request to answer.");
        for ((actor, transport), latency) in &counts.latencies {
            let labels = format!("actor=\"{actor}\",transport=\"{transport}\"");
            latency.render(&mut text, name, &labels);
        }
        head(
            &mut text,
            "dps_emulator_refusals_total",
            "counter",
            "Refusals by error code and reason; quoted parts and numbers of the reason are left out.",
        );
        for ((code, reason), count) in &counts.refusals {
            let _ = writeln!(
                text,
                "dps_emulator_refusals_total{{code=\"{code}\",reason=\"{}\"}} {count}",
                escaped(reason)
            );
        }
        for sample in samples {
            head(&mut text, sample.name, sample.kind, sample.help);
            for (labels, value) in &sample.values {
                let _ = match labels.as_str() {
                    "" => writeln!(text, "{} {value}", sample.name),
                    labels => writeln!(text, "{}{{{labels}}} {value}", sample.name),
                };
            }
        }
        text
    }
}

impl Latency {
    fn add(&mut self, microseconds: u64) {
        let bounds = BUCKETS.iter().map(|(bound, _)| *bound);
        for (bucket, bound) in self.buckets.iter_mut().zip(bounds) {
            *bucket += u64::from(microseconds <= bound);
        }
        self.count += 1;
        self.microseconds = self.microseconds.saturating_add(microseconds);
    }

    fn render(&self, text: &mut String, name: &str, labels: &str) {
        for ((_, bound), count) in BUCKETS.iter().zip(self.buckets) {
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let seconds = std::time::Duration::from_micros(self.microseconds).as_secs_f64();
        let _ = writeln!(text, "{name}_sum{{{labels}}} {seconds}");
        let _ = writeln!(text, "{name}_count{{{labels}}} {}", self.count);
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// The reason without what differs between devices: quoted parts, parentheses and numbers.
fn class(reason: &str) -> String {
    let mut class = String::new();
    let mut end = None;
    for letter in reason.chars() {
        match end {
            Some(close) if letter == close => end = None,
            Some(_) => {}
            None => match letter {
                '\'' => {
                    end = Some('\'');
                    class.push('…');
                }
                '(' => {
                    end = Some(')');
                    class.push('…');
                }
                digit if digit.is_ascii_digit() => {
                    if !class.ends_with('#') {
                        class.push('#');
                    }
                }
                letter => class.push(letter),
            },
        }
    }
    class.chars().take(120).collect()
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn exchanges_are_counted_by_outcome_and_reason() {
        let metrics = Metrics::default();
        for id in ["a", "b"] {
            let reason = format!("the id is '{id}' (since 12:07), and not 42");
            let exchange = Exchange::new(Actor::Device, "MQTT", "register")
                .answered(401, b"", b"")
                .took(Duration::from_millis(2))
                .ended("refused", Some(&reason));
            metrics.count(&exchange);
        }
        let text = metrics.render(&[Sample {
            name: "x",
            help: "An x.",
            kind: "gauge",
            values: vec![(String::new(), 1), ("a=\"b\"".to_owned(), 2)],
        }]);
        for line in [
            r#"dps_emulator_registrations_total{outcome="refused",transport="MQTT"} 2"#,
            r#"dps_emulator_request_duration_seconds_bucket{actor="device",transport="MQTT",le="0.001"} 0"#,
            r#"dps_emulator_request_duration_seconds_bucket{actor="device",transport="MQTT",le="0.005"} 2"#,
            r#"dps_emulator_request_duration_seconds_sum{actor="device",transport="MQTT"} 0.004"#,
            r#"dps_emulator_refusals_total{code="0",reason="the id is … …, and not #"} 2"#,
            "# TYPE x gauge",
            "x 1",
            r#"x{a="b"} 2"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
    }

    #[test]
    fn the_number_of_reasons_is_limited() {
        let metrics = Metrics::default();
        for number in 0..2 * MAX_REASONS {
            let reason: String = char::from_u32(0x4e00 + u32::try_from(number).unwrap())
                .into_iter()
                .collect();
            let exchange = Exchange::new(Actor::Device, "MQTT", "register");
            metrics.count(&exchange.ended("refused", Some(&reason)));
        }
        let text = metrics.render(&[]);
        let lines = text.lines().filter(|it| it.contains("refusals_total{"));
        assert_eq!(lines.count(), MAX_REASONS + 1);
    }
}
