//! The clock of the emulator, which can be set and advanced: tokens, certificates and challenges expire by it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use dps_types::{Clock, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::Control;
use super::reply::{self, Answer, Failure};
use super::request::{Ask, BODY_LIMIT};

/// The longest time by which the clock may differ from its source: 100 years.
const MAX_OFFSET: i64 = 100 * 365 * 24 * 60 * 60;

/// A clock that differs from another one by an offset.
#[derive(Debug)]
pub(crate) struct AdjustableClock {
    source: Arc<dyn Clock>,
    /// In nanoseconds.
    offset: RwLock<i128>,
}

/// The nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

impl AdjustableClock {
    pub(crate) fn new(source: Arc<dyn Clock>) -> Self {
        Self {
            source,
            offset: RwLock::new(0),
        }
    }

    pub(super) fn reset(&self) {
        *self.offset.write().unwrap_or_else(PoisonError::into_inner) = 0;
    }

    /// The offset in seconds; negative if the clock is behind.
    fn offset_seconds(&self) -> i64 {
        i64::try_from(self.offset() / SECOND).unwrap_or_default()
    }

    fn set(&self, now: SystemTime) -> Result<(), Failure> {
        let nanoseconds = |length: Duration| i128::try_from(length.as_nanos()).unwrap_or(i128::MAX);
        self.replace(match now.duration_since(self.source.now()) {
            Ok(ahead) => nanoseconds(ahead),
            Err(behind) => -nanoseconds(behind.duration()),
        })
    }

    fn advance(&self, seconds: i64) -> Result<(), Failure> {
        if seconds.unsigned_abs() > MAX_OFFSET.unsigned_abs() {
            return Err(Failure::invalid(
                "the clock may be advanced by 100 years at most",
            ));
        }
        self.replace(self.offset() + i128::from(seconds) * SECOND)
    }

    /// The offset in nanoseconds.
    pub(super) fn offset(&self) -> i128 {
        *self.offset.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the offset of another emulator. One beyond the limit is ignored.
    pub(super) fn set_offset(&self, offset: i128) {
        let _ = self.replace(offset);
    }

    fn replace(&self, offset: i128) -> Result<(), Failure> {
        if offset.abs() > i128::from(MAX_OFFSET) * SECOND {
            return Err(Failure::invalid(
                "the clock may differ from the system's by 100 years at most",
            ));
        }
        *self.offset.write().unwrap_or_else(PoisonError::into_inner) = offset;
        Ok(())
    }
}

impl Clock for AdjustableClock {
    fn now(&self) -> SystemTime {
        let (source, offset) = (self.source.now(), self.offset());
        let length = u64::try_from(offset.unsigned_abs()).map(Duration::from_nanos);
        let length = length.unwrap_or_default();
        let moved = match offset {
            0.. => source.checked_add(length),
            _ => source.checked_sub(length),
        };
        moved.unwrap_or(source)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Set {
    now: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    seconds: i64,
}

/// `GET /clock`
pub(super) fn read(control: &Control) -> Answer {
    let now: Timestamp = control.clock.now().into();
    let offset = control.clock.offset_seconds();
    reply::ok(&json!({ "now": now, "offsetSeconds": offset }))
}

/// `PUT /clock`
pub(super) async fn set(control: &Control, ask: Ask) -> Answer {
    let Set { now } = ask.json(BODY_LIMIT).await?;
    let _sharing = control.sharing.lock().await;
    control.clock.set(now.into())?;
    control.share_clock().await?;
    read(control)
}

/// `POST /clock/advance`
pub(super) async fn advance(control: &Control, ask: Ask) -> Answer {
    let Advance { seconds } = ask.json(BODY_LIMIT).await?;
    let _sharing = control.sharing.lock().await;
    control.clock.advance(seconds)?;
    control.share_clock().await?;
    read(control)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[derive(Debug)]
    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(1_800_000_000)
        }
    }

    #[test]
    fn the_clock_is_set_advanced_and_reset() {
        let clock = AdjustableClock::new(Arc::new(Fixed));
        clock.advance(3600).expect("advanced");
        assert_eq!(clock.now(), Fixed.now() + Duration::from_secs(3600));
        clock.advance(-7200).expect("set back");
        assert_eq!(clock.offset_seconds(), -3600);
        clock
            .set(Fixed.now() + Duration::from_secs(5))
            .expect("set");
        assert_eq!(clock.offset_seconds(), 5);
        clock.reset();
        assert_eq!(clock.now(), Fixed.now());
        for seconds in [i64::MAX, i64::MIN, MAX_OFFSET + 1] {
            assert!(clock.advance(seconds).is_err());
        }
        clock.advance(MAX_OFFSET).expect("allowed");
        assert!(clock.advance(1).is_err());
        assert!(clock.set(UNIX_EPOCH).is_ok());
    }
}
