//! Timestamps as the service writes them: UTC, up to seven fractional digits, no trailing zeros.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::ParseError;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, in seconds since 1970.
const FIRST_SECOND: i128 = -62_135_596_800;
const LAST_SECOND: i128 = 253_402_300_799;
const NANOS: i128 = 1_000_000_000;

/// A point in time in UTC, with a resolution of 100 nanoseconds: `2022-08-31T22:02:50.5163352Z`.
///
/// ```
/// use dps_types::Timestamp;
///
/// let time: Timestamp = "2026-11-27T06:00:00Z".parse()?;
/// assert_eq!(time.unix_seconds(), 1_795_759_200);
/// # Ok::<_, dps_types::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// The current time of the system clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(&self) -> i64 {
        self.0.unix_timestamp()
    }

    fn truncated(moment: OffsetDateTime) -> Self {
        let ticks = moment.nanosecond() / 100 * 100;
        Self(moment.replace_nanosecond(ticks).unwrap_or(moment))
    }
}

impl From<SystemTime> for Timestamp {
    /// A time before the year 1 or after 9999 becomes the nearest one in that range.
    fn from(moment: SystemTime) -> Self {
        let nanos = match moment.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
            Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
        };
        let clamped = nanos.clamp(FIRST_SECOND * NANOS, LAST_SECOND * NANOS + (NANOS - 1));
        let moment = OffsetDateTime::from_unix_timestamp_nanos(clamped);
        Self::truncated(moment.unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0.into()
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let moment = OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|moment| moment.checked_to_offset(UtcOffset::UTC))
            .filter(|moment| (0..=9999).contains(&moment.year()))
            .ok_or_else(|| {
                ParseError::new(
                    "timestamp",
                    "it is not a timestamp of RFC 3339, such as 2022-08-31T22:02:50Z",
                )
            })?;
        Ok(Self::truncated(moment))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.format(&Rfc3339).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_the_service_are_written_as_they_were_read() {
        for text in [
            "2022-08-31T22:02:50.5163352Z",
            "2020-04-10T05:10:52.186984Z",
            "2022-08-01T22:57:47Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.9999999Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn other_offsets_become_utc_and_more_digits_are_cut() {
        let moment: Timestamp = "2022-08-31T22:02:50.123456789+02:00"
            .parse()
            .expect("valid");
        assert_eq!(moment.to_string(), "2022-08-31T20:02:50.1234567Z");
    }

    #[test]
    fn text_that_is_not_a_timestamp_is_refused() {
        for text in [
            "",
            "now",
            "2022-08-31",
            "2022-13-01T00:00:00Z",
            "2022-08-31T22:02:50",
            "0000-01-01T00:00:00+23:00",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn any_system_time_has_a_timestamp() {
        use std::time::Duration;
        for seconds in [0, 1, 1 << 40, 1 << 50] {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let text = Timestamp::from(moment).to_string();
            let timestamp: Timestamp = text.parse().expect(&text);
            if seconds < 253_402_300_800 {
                assert_eq!(SystemTime::from(timestamp), moment);
            }
        }
    }
}
