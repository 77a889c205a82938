//! The clock of this machine against the `Date` of an answer: SAS tokens and certificates depend on it.

use std::time::{Duration, SystemTime};

use super::finding::Findings;

/// A difference that is worth a warning, and one that makes tokens of one hour invalid.
const NOTICEABLE: Duration = Duration::from_secs(60);
const TOO_MUCH: Duration = Duration::from_secs(300);

/// Compares the clocks. The time of the answer lies between its request and now.
pub(super) fn check(date: Option<&str>, now: SystemTime, findings: &mut Findings) {
    let Some(server) = date.and_then(|text| httpdate::parse_http_date(text).ok()) else {
        return findings.skipped("clock", "the answer of the server has no date");
    };
    let (difference, word) = match now.duration_since(server) {
        Ok(ahead) => (ahead, "ahead"),
        Err(error) => (error.duration(), "behind"),
    };
    let finding = format!("the clock of this machine is {} {word}", words(difference));
    match difference {
        difference if difference > TOO_MUCH => findings.problem(
            "clock",
            finding,
            "set the clock, for example with NTP: the service refuses tokens and certificates of another time",
        ),
        difference if difference > NOTICEABLE => findings.warning("clock", finding, "set the clock, for example with NTP"),
        _ => findings.ok("clock", "it agrees with the clock of the service"),
    }
}

fn words(difference: Duration) -> String {
    match difference.as_secs() {
        seconds @ 0..120 => format!("{seconds} seconds"),
        seconds @ 120..7200 => format!("{} minutes", seconds / 60),
        seconds @ 7200..172_800 => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Fri, 27 Nov 2026 03:00:00 GMT";

    fn found(date: Option<&str>, difference: i64) -> String {
        let server = httpdate::parse_http_date(DATE).unwrap();
        let offset = Duration::from_secs(difference.unsigned_abs());
        let now = if difference < 0 {
            server - offset
        } else {
            server + offset
        };
        let mut findings = Findings::default();
        check(date, now, &mut findings);
        findings.only()
    }

    #[test]
    fn a_clock_that_is_wrong_is_named_with_its_difference() {
        assert!(found(Some(DATE), 2).starts_with("Ok"));
        assert!(
            found(Some(DATE), 90)
                .starts_with("Warning: the clock of this machine is 90 seconds ahead")
        );
        assert!(
            found(Some(DATE), 3600)
                .starts_with("Problem: the clock of this machine is 60 minutes ahead")
        );
        assert!(
            found(Some(DATE), -3 * 86_400)
                .starts_with("Problem: the clock of this machine is 3 days behind")
        );
        assert!(found(None, 0).starts_with("Skipped"));
        assert!(found(Some("yesterday"), 0).starts_with("Skipped"));
    }
}
