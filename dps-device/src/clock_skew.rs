//! Describes a clock of the device that differs from the clock of the service.

use std::time::{Duration, SystemTime};

use dps_types::Timestamp;

/// Smaller differences do not matter for tokens and certificates.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A sentence with both times, `None` when the clocks agree.
pub(crate) fn describe(device: SystemTime, service: SystemTime) -> Option<String> {
    let (difference, direction) = match device.duration_since(service) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    (difference > TOLERANCE).then(|| {
        format!(
            "the clock of the device shows {}, which is {difference:.0?} {direction} the service's {}: set the clock",
            Timestamp::from(device),
            Timestamp::from(service),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_wrong_clock_is_described_with_both_times() {
        let now = 1_700_000_000;
        let text = describe(at(0), at(now)).unwrap();
        for part in [
            "1970-01-01T00:00:00",
            "behind",
            "2023-11-14T22:13:20",
            "set the clock",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let text = describe(at(now + 3600), at(now)).unwrap();
        for part in [
            "2023-11-14T23:13:20",
            "3600s ahead of",
            "2023-11-14T22:13:20",
        ] {
            assert!(text.contains(part), "{text}");
        }
        for difference in [0, 1, 300] {
            assert_eq!(describe(at(now + difference), at(now)), None);
            assert_eq!(describe(at(now - difference), at(now)), None);
        }
    }
}
