//! Times as the reasons in the log state them: how long ago or ahead, and both times.

use std::time::SystemTime;

use dps_types::Timestamp;

/// `14 minutes ago (at 2026-11-26T22:00:00Z; it is 2026-11-26T22:14:00Z)`, or `in 3 days (…)`.
pub(crate) fn relative(moment: impl Into<Timestamp>, now: SystemTime) -> String {
    let (moment, now) = (moment.into(), Timestamp::from(now));
    let difference = now.unix_seconds() - moment.unix_seconds();
    let distance = match difference >= 0 {
        true => format!("{} ago", in_words(difference.unsigned_abs())),
        false => format!("in {}", in_words(difference.unsigned_abs())),
    };
    format!("{distance} (at {moment}; it is {now})")
}

fn in_words(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn states_the_distance_and_both_times() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let before = |seconds| relative(now - Duration::from_secs(seconds), now);
        assert_eq!(
            before(14 * 60 + 5),
            "14 minutes ago (at 2027-01-15T07:45:55Z; it is 2027-01-15T08:00:00Z)"
        );
        assert!(before(1).starts_with("1 second ago"));
        assert!(before(3 * 3600).starts_with("3 hours ago"));
        assert!(before(400 * 86_400).starts_with("400 days ago"));
        let later = relative(now + Duration::from_secs(90), now);
        assert!(later.starts_with("in 1 minute ("), "{later}");
    }
}
