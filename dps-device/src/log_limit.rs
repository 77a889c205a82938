//! Limits how often the same kind of failure is logged.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(60);

/// Allows the first message, and then at most one a minute.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<Option<Instant>>);

impl LogLimit {
    /// Returns true if a message may be logged now, and counts it.
    pub(crate) fn allows(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if allowed {
            *last = Some(Instant::now());
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_message_is_allowed_and_then_one_a_minute() {
        let limit = LogLimit::default();
        assert!(limit.allows());
        for _ in 0..59 {
            advance(Duration::from_secs(1)).await;
            assert!(!limit.allows());
        }
        advance(Duration::from_secs(1)).await;
        assert!(limit.allows());
        assert!(!limit.allows());
    }
}
