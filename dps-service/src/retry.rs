//! Retries: which requests, after which pause, and until when.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::info;

use crate::error::{Error, ErrorKind};

/// The most attempts of one request.
const ATTEMPTS: u32 = 8;
/// The timeout of one attempt.
const ONE_ATTEMPT: Duration = Duration::from_secs(30);
/// The longest pause after the first attempt. It doubles with each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, unless the service asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The duration that means "no timeout": a longer one could overflow the clock.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The effect of a second attempt, which decides about retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The request is idempotent.
    Freely,
    /// A second attempt would find the effect of the first: retry only if the first one certainly had no effect.
    UnlessInDoubt,
}

/// The result of a request that may have been retried.
pub(crate) struct Done<T> {
    pub(crate) value: T,
    /// True if an earlier attempt may have been carried out although its answer was lost.
    pub(crate) in_doubt: bool,
}

/// Returns the time after this timeout.
pub(crate) fn deadline_in(time: Duration) -> Instant {
    Instant::now() + time.min(MAX_TIMEOUT)
}

/// Makes attempts until one succeeds, one fails with an error that a retry does not help, eight were made, or the deadline
/// leaves no time for another.
pub(crate) async fn retry<T, F>(
    deadline: Instant,
    repeat: Repeat,
    mut attempt: impl FnMut() -> F,
) -> Result<Done<T>, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut in_doubt = false;
    let mut last = None;
    let mut tries = 0;
    loop {
        tries += 1;
        let end = deadline.min(Instant::now() + ONE_ATTEMPT);
        let error = match timeout_at(end, attempt()).await {
            Ok(Ok(value)) => return Ok(Done { value, in_doubt }),
            Ok(Err(error)) => error,
            Err(_) => no_answer(last.take()),
        };
        in_doubt |= error.is_in_doubt();
        let error = error.in_doubt_if(in_doubt);
        let safe = repeat == Repeat::Freely || !in_doubt;
        if tries == ATTEMPTS || !safe || !error.is_retryable() {
            return Err(error);
        }
        let pause = pause(tries, error.retry_after());
        if Instant::now() + pause >= deadline {
            return Err(error);
        }
        info!(%error, tries, pause_ms = pause.as_millis(), "retrying");
        last = Some(error);
        sleep(pause).await;
    }
}

/// The error of an attempt that timed out. The error of the attempt before it is kept as the source.
fn no_answer(last: Option<Error>) -> Error {
    let error = Error::new(ErrorKind::Deadline, "no answer arrived in time").in_doubt_if(true);
    match last {
        Some(last) => error.with_source(last),
        None => error,
    }
}

/// Returns the pause that the service asks for plus a random time, so that clients that failed together do not retry
/// together.
pub(crate) fn pause(tries: u32, asked: Option<Duration>) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1 << (tries - 1).min(16))
        .min(LONGEST_PAUSE);
    asked.unwrap_or_default() + longest.mul_f64(random_fraction())
}

/// Returns a number from 0 to less than 1. Without a source of randomness all clients pause equally long, which is not a
/// reason to fail.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |random| {
        f64::from(random) / (f64::from(u32::MAX) + 1.0)
    })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn failure(kind: ErrorKind) -> Error {
        Error::new(kind, "failed")
    }

    async fn attempts(within: Duration, repeat: Repeat, error: impl Fn() -> Error) -> (u32, Error) {
        let mut attempts = 0;
        let result = retry(deadline_in(within), repeat, || {
            attempts += 1;
            ready(Err::<(), _>(error()))
        });
        let error = result.await.err().unwrap();
        (attempts, error)
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn only_errors_that_may_go_away_are_retried() {
        for (kind, expected) in [
            (ErrorKind::Throttled, ATTEMPTS),
            (ErrorKind::Service, ATTEMPTS),
            (ErrorKind::Connect, ATTEMPTS),
            (ErrorKind::NotFound, 1),
            (ErrorKind::Tls, 1),
            (ErrorKind::Protocol, 1),
        ] {
            let (tries, error) = attempts(HOUR, Repeat::Freely, || failure(kind)).await;
            assert_eq!((tries, error.kind()), (expected, kind));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_doubt_only_idempotent_requests_are_retried() {
        let lost = || failure(ErrorKind::Connect).in_doubt_if(true);
        assert_eq!(attempts(HOUR, Repeat::Freely, lost).await.0, ATTEMPTS);
        assert_eq!(attempts(HOUR, Repeat::UnlessInDoubt, lost).await.0, 1);
        let refused = || failure(ErrorKind::Connect);
        assert_eq!(
            attempts(HOUR, Repeat::UnlessInDoubt, refused).await.0,
            ATTEMPTS
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_after_a_doubtful_attempt_is_in_doubt() {
        let mut first = true;
        let error = retry(deadline_in(HOUR), Repeat::Freely, || {
            let kind = match std::mem::take(&mut first) {
                true => ErrorKind::Connect,
                false => ErrorKind::NotFound,
            };
            let error = failure(kind).in_doubt_if(kind == ErrorKind::Connect);
            ready(Err::<(), _>(error))
        });
        let error = error.await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.is_in_doubt());
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_after_a_doubtful_attempt_reports_the_doubt() {
        for doubt in [false, true] {
            let mut first = true;
            let done = retry(deadline_in(HOUR), Repeat::Freely, || {
                ready(match std::mem::take(&mut first) {
                    true => Err(failure(ErrorKind::Connect).in_doubt_if(doubt)),
                    false => Ok(7),
                })
            });
            let done = done.await.unwrap();
            assert_eq!((done.value, done.in_doubt), (7, doubt));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_retry_is_earlier_than_the_service_asks() {
        let asked = Duration::from_secs(7);
        let mut times = Vec::new();
        let result = retry(deadline_in(HOUR), Repeat::Freely, || {
            times.push(Instant::now());
            let error = failure(ErrorKind::Throttled).with_retry_after(Some(asked));
            ready(Err::<(), _>(error))
        });
        assert!(result.await.is_err());
        assert_eq!(times.len(), 8);
        assert!(times.windows(2).all(|two| two[1] - two[0] >= asked));
    }

    #[tokio::test(start_paused = true)]
    async fn no_pause_goes_past_the_deadline() {
        let start = Instant::now();
        let (tries, error) = attempts(Duration::from_secs(5), Repeat::Freely, || {
            failure(ErrorKind::Throttled).with_retry_after(Some(Duration::from_secs(6)))
        })
        .await;
        assert_eq!((tries, error.kind()), (1, ErrorKind::Throttled));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_times_out_and_the_deadline_ends_all_attempts() {
        for (within, repeat, tries, seconds) in [
            (HOUR, Repeat::UnlessInDoubt, 1, 30),
            (Duration::from_secs(5), Repeat::Freely, 1, 5),
        ] {
            let start = Instant::now();
            let mut attempts = 0;
            let result = retry(deadline_in(within), repeat, || {
                attempts += 1;
                pending::<Result<(), Error>>()
            });
            assert_eq!(result.await.err().unwrap().kind(), ErrorKind::Deadline);
            assert_eq!(attempts, tries);
            assert_eq!(start.elapsed(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn pauses_grow_and_stop_growing() {
        for (tries, longest) in [(1, 200), (2, 400), (3, 800), (7, 10_000), (40, 10_000)] {
            for _ in 0..100 {
                assert!(pause(tries, None) < Duration::from_millis(longest));
            }
        }
        assert!((0..100).any(|_| pause(7, None) > Duration::from_secs(1)));
    }
}
