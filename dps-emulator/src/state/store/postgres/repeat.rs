//! Repeats an attempt until it succeeds, is refused, or its time ends.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::{StoreError, StoreErrorKind};
use super::failure::Failure;
use crate::random::Random;

/// The time before the first repetition; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Repeats `attempt` for at most this time.
pub(super) async fn repeat<T, A>(
    limit: Duration,
    random: &Random,
    attempt: impl Fn() -> A,
) -> Result<T, StoreError>
where
    A: Future<Output = Result<T, Failure>>,
{
    let mut last = None;
    let attempts = async {
        let mut wait = FIRST_WAIT;
        loop {
            last = Some(match attempt().await {
                Ok(done) => return Ok(done),
                Err(Failure::Refused(error)) => return Err(error),
                Err(Failure::Again(error) | Failure::Lost(error)) => error,
            });
            sleep(jittered(wait, random)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    };
    match timeout(limit, attempts).await {
        Ok(done) => done,
        Err(_) => Err(late(limit, last)),
    }
}

/// Between half of the time and all of it, so that callers that collided do not collide again.
fn jittered(wait: Duration, random: &Random) -> Duration {
    wait / 2 + (wait / 2).mul_f64((random.number() % 1000) as f64 / 1000.0)
}

fn late(limit: Duration, last: Option<StoreError>) -> StoreError {
    let message = format!(
        "PostgreSQL did not complete the call within {} seconds",
        limit.as_secs_f64()
    );
    let error = match last {
        Some(last) => StoreError::with_source(message, last),
        None => StoreError::new(message),
    };
    error.with_kind(StoreErrorKind::Unavailable)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn again() -> Failure {
        Failure::Again(StoreError::new("a conflict"))
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_repeated_until_it_succeeds() {
        let random = Random::default();
        let attempts = Cell::new(0);
        let done = repeat(Duration::from_secs(10), &random, async || {
            attempts.set(attempts.get() + 1);
            match attempts.get() {
                5 => Ok("done"),
                _ => Err(again()),
            }
        });
        assert_eq!(done.await.unwrap(), "done");
        assert_eq!(attempts.get(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_at_the_time_limit_with_the_last_cause() {
        let random = Random::default();
        let attempts = Cell::new(0);
        let done = repeat::<(), _>(Duration::from_secs(10), &random, async || {
            attempts.set(attempts.get() + 1);
            Err(again())
        });
        let error = done.await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert_eq!(
            format!("{error:#}"),
            "PostgreSQL did not complete the call within 10 seconds: a conflict"
        );
        // 5 ms, 10 ms, ... 320 ms, then 500 ms at most and 250 ms at least.
        assert!((20..50).contains(&attempts.get()), "{}", attempts.get());

        let hangs = repeat::<(), _>(Duration::from_millis(1500), &random, std::future::pending);
        assert_eq!(
            hangs.await.unwrap_err().to_string(),
            "PostgreSQL did not complete the call within 1.5 seconds"
        );
    }

    #[tokio::test]
    async fn a_refusal_is_reported_at_once() {
        let random = Random::default();
        let refused = || Failure::Refused(StoreError::new("no"));
        let done = repeat::<(), _>(Duration::from_secs(10), &random, async || Err(refused()));
        assert_eq!(done.await.unwrap_err().to_string(), "no");
    }
}
