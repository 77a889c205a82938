//! Tries again: what may be repeated, how long to wait before, when to stop.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::info;

use crate::error::{Error, ErrorKind};

/// The most attempts of one request.
const ATTEMPTS: u32 = 8;
/// The longest wait for one answer.
const ONE_ATTEMPT: Duration = Duration::from_secs(30);
/// The pause after the first attempt lies between nothing and this; each further one may be twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A pause is not longer than this, unless the service asks for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Stands for "no deadline"; more could overflow the clock.
const LONGEST_DEADLINE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a repetition does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Doing it twice is the same as doing it once.
    Freely,
    /// A second time finds what the first one did: repeat only when the first did nothing for certain.
    UnlessInDoubt,
}

/// What came of it in the end.
pub(crate) struct Done<T> {
    pub(crate) value: T,
    /// Whether an earlier attempt may have been carried out without an answer.
    pub(crate) in_doubt: bool,
}

/// The moment that lies so far ahead.
pub(crate) fn deadline_in(time: Duration) -> Instant {
    Instant::now() + time.min(LONGEST_DEADLINE)
}

/// Attempts until one succeeds, one fails for good, the attempts are used up, or the deadline leaves no time for another.
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
        info!(%error, tries, pause_ms = pause.as_millis(), "trying again");
        last = Some(error);
        sleep(pause).await;
    }
}

/// The end of an attempt that took too long. What went wrong before says more than the silence.
fn no_answer(last: Option<Error>) -> Error {
    let error = Error::new(ErrorKind::Deadline, "no answer came in time").in_doubt_if(true);
    match last {
        Some(last) => error.with_source(last),
        None => error,
    }
}

/// As long as the service asks for, and a random time on top: clients that failed together come back apart.
pub(crate) fn pause(tries: u32, asked: Option<Duration>) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1 << (tries - 1).min(16))
        .min(LONGEST_PAUSE);
    asked.unwrap_or_default() + longest.mul_f64(random_fraction())
}

/// At least 0, less than 1. Without randomness all clients wait the same: worse, and no reason to fail.
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
    async fn only_what_may_succeed_later_is_repeated() {
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
    async fn in_doubt_only_what_is_the_same_twice_is_repeated() {
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
    async fn a_doubt_stays_with_the_errors_after_it() {
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
    async fn a_success_tells_of_the_doubt_before_it() {
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
    async fn the_service_is_never_asked_earlier_than_it_says() {
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
    async fn a_wait_past_the_deadline_is_not_begun() {
        let start = Instant::now();
        let (tries, error) = attempts(Duration::from_secs(5), Repeat::Freely, || {
            failure(ErrorKind::Throttled).with_retry_after(Some(Duration::from_secs(6)))
        })
        .await;
        assert_eq!((tries, error.kind()), (1, ErrorKind::Throttled));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_given_up_and_the_deadline_ends_them_all() {
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
