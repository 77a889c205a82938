//! The thread that calls the module for one token. A PKCS#11 call blocks and cannot be cancelled, so callers wait for this thread
//! with a time limit.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, io};

use tokio::sync::oneshot;

/// The calls that wait for the thread.
const MAX_WAITING: usize = 256;
/// The time that dropping a worker waits for the end of the thread, which closes the session.
const CLOSING: Duration = Duration::from_secs(5);

/// The longest time limit of a call. A limit such as `Duration::MAX` cannot be added to an `Instant`.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A thread with a state, which runs one job at a time.
pub(super) struct Worker<S> {
    /// `None` while the worker is dropped: the thread ends when the channel is closed.
    jobs: Option<SyncSender<Job<S>>>,
    shared: Arc<Shared>,
}

/// The reason why a call has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The time limit has passed.
    Late,
    /// A previous call has not returned within its time limit.
    Blocked,
    /// Too many calls wait for the thread.
    Full,
    /// The thread has ended, because dropping its state panicked.
    Ended,
}

struct Job<S> {
    deadline: Instant,
    /// Set when the caller no longer waits.
    is_abandoned: Arc<AtomicBool>,
    run: Box<dyn FnOnce(&mut S) + Send>,
}

/// A caller that waits for its job. Dropping it abandons the job.
struct Caller(Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Shared {
    /// The deadline of the running job.
    running: Mutex<Option<Instant>>,
    end: Mutex<End>,
    ended: Condvar,
    /// The threads of the module whose worker was dropped during a call that has not returned.
    stuck: Arc<AtomicUsize>,
}

#[derive(Default)]
struct End {
    is_over: bool,
    is_counted: bool,
}

type Outcome<T> = Result<T, Box<dyn Any + Send>>;

impl<S: Send + 'static> Worker<S> {
    /// Starts the thread. `stuck` counts the threads that outlive their worker because a call has not returned.
    pub(super) fn start(state: S, stuck: Arc<AtomicUsize>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            running: Mutex::default(),
            end: Mutex::default(),
            ended: Condvar::new(),
            stuck,
        });
        let (jobs, queue) = sync_channel(MAX_WAITING);
        let thread = shared.clone();
        thread::Builder::new()
            .name("dps-pkcs11".to_owned())
            .spawn(move || {
                // Dropped last, also after a panic.
                let _end = OnEnd(thread.clone());
                run(&queue, state, &thread);
            })?;
        Ok(Self {
            jobs: Some(jobs),
            shared,
        })
    }

    /// Runs work on the thread, and waits for its result on this thread. A panic of the work continues here.
    ///
    /// When the time limit has passed, work that has not begun is not run. Work that has begun continues.
    pub(super) fn call<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (reply, answer) = sync_channel(1);
        let _caller = self.submit(limit, work, move |outcome| {
            // The caller may have stopped waiting.
            let _ = reply.send(outcome);
        })?;
        match answer.recv_timeout(limit) {
            Ok(outcome) => Ok(unwind(outcome)),
            Err(_) => Err(self.no_answer()),
        }
    }

    /// As [`call`](Self::call), without blocking this thread. If the future is dropped, work that has not begun is not run.
    pub(super) async fn call_async<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        let _caller = self.submit(limit, work, move |outcome| {
            // The caller may have stopped waiting.
            let _ = reply.send(outcome);
        })?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(outcome)) => Ok(unwind(outcome)),
            Ok(Err(_)) | Err(_) => Err(self.no_answer()),
        }
    }

    fn submit<T>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
        reply: impl FnOnce(Outcome<T>) + Send + 'static,
    ) -> Result<Caller, NoAnswer> {
        let now = Instant::now();
        if self.shared.is_blocked(now) {
            return Err(NoAnswer::Blocked);
        }
        let caller = Caller(Arc::default());
        let job = Job {
            deadline: now + limit.min(LONGEST),
            is_abandoned: caller.0.clone(),
            run: Box::new(move |state: &mut S| {
                // A panic belongs to the caller; the thread continues.
                reply(catch_unwind(AssertUnwindSafe(|| work(state))));
            }),
        };
        let jobs = self.jobs.as_ref().ok_or(NoAnswer::Ended)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => NoAnswer::Full,
            TrySendError::Disconnected(_) => NoAnswer::Ended,
        })?;
        Ok(caller)
    }

    fn no_answer(&self) -> NoAnswer {
        if lock(&self.shared.end).is_over {
            NoAnswer::Ended
        } else {
            NoAnswer::Late
        }
    }
}

impl<S> Drop for Worker<S> {
    /// Waits for the thread, so that the session is closed afterwards, but not for a module that does not answer.
    fn drop(&mut self) {
        self.jobs = None;
        let limit = if self.shared.is_blocked(Instant::now()) {
            Duration::ZERO
        } else {
            CLOSING
        };
        let end = lock(&self.shared.end);
        let (mut end, _) = self
            .shared
            .ended
            .wait_timeout_while(end, limit, |end| !end.is_over)
            .unwrap_or_else(PoisonError::into_inner);
        if !end.is_over {
            end.is_counted = true;
            self.shared.stuck.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Shared {
    fn is_blocked(&self, now: Instant) -> bool {
        lock(&self.running).is_some_and(|deadline| deadline < now)
    }
}

/// Reports the end of the thread.
struct OnEnd(Arc<Shared>);

impl Drop for OnEnd {
    fn drop(&mut self) {
        let mut end = lock(&self.0.end);
        end.is_over = true;
        if end.is_counted {
            self.0.stuck.fetch_sub(1, Ordering::Relaxed);
        }
        self.0.ended.notify_all();
    }
}

fn run<S>(jobs: &Receiver<Job<S>>, mut state: S, shared: &Shared) {
    while let Ok(job) = jobs.recv() {
        // The caller has stopped waiting.
        if job.deadline <= Instant::now() || job.is_abandoned.load(Ordering::Relaxed) {
            continue;
        }
        *lock(&shared.running) = Some(job.deadline);
        (job.run)(&mut state);
        *lock(&shared.running) = None;
    }
}

fn unwind<T>(outcome: Outcome<T>) -> T {
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    fn worker() -> (Worker<u32>, Arc<AtomicUsize>) {
        let stuck = Arc::<AtomicUsize>::default();
        (Worker::start(0, stuck.clone()).unwrap(), stuck)
    }

    /// Makes a call that blocks until the sender is used, and waits for its time limit.
    fn block(worker: &Worker<u32>) -> Sender<()> {
        loop {
            let (release, blocked) = channel::<()>();
            let (begun, has_begun) = channel();
            let outcome = worker.call(SHORT, move |_| {
                let _ = begun.send(());
                let _ = blocked.recv();
            });
            // On a busy machine the time limit may pass before the call begins. It is then not made.
            if has_begun.try_recv().is_ok() {
                assert_eq!(outcome, Err(NoAnswer::Late));
                return release;
            }
        }
    }

    #[test]
    fn a_call_that_blocks_ends_for_its_caller_and_for_later_callers() {
        let (worker, _) = worker();
        let release = block(&worker);
        // Later callers do not wait at all.
        assert_eq!(worker.call(LONG, |_| ()), Err(NoAnswer::Blocked));

        release.send(()).unwrap();
        let answer = loop {
            match worker.call(LONG, |_| 7) {
                Err(NoAnswer::Blocked) => thread::yield_now(),
                answer => break answer,
            }
        };
        assert_eq!(answer, Ok(7));
    }

    #[test]
    fn a_job_whose_caller_has_gone_is_not_run() {
        let (worker, _) = worker();
        let (release, blocked) = channel::<()>();
        let (begun, has_begun) = channel();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                worker.call(LONG, move |_| {
                    begun.send(()).unwrap();
                    let _ = blocked.recv();
                })
            });
            has_begun.recv().unwrap();
            let second = worker.call(SHORT, |count| *count += 1);
            assert_eq!(second, Err(NoAnswer::Late));
            release.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Ok(()));
        });
        assert_eq!(worker.call(LONG, |count| *count), Ok(0));
    }

    #[test]
    fn a_job_whose_future_was_dropped_is_not_run() {
        use std::task::{Context, Poll, Waker};

        let (worker, _) = worker();
        let (release, blocked) = channel::<()>();
        let (begun, has_begun) = channel();
        let mut context = Context::from_waker(Waker::noop());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let mut first = Box::pin(worker.call_async(LONG, move |_| {
            begun.send(()).unwrap();
            let _ = blocked.recv();
        }));
        let mut second = Box::pin(worker.call_async(LONG, |count| *count += 1));
        assert_eq!(first.as_mut().poll(&mut context), Poll::Pending);
        has_begun.recv().unwrap();
        assert_eq!(second.as_mut().poll(&mut context), Poll::Pending);
        drop(second);
        release.send(()).unwrap();
        assert_eq!(worker.call(LONG, |count| *count), Ok(0));
    }

    #[test]
    fn the_queue_is_bounded() {
        let (worker, _) = worker();
        let (release, blocked) = channel::<()>();
        let (begun, has_begun) = channel();
        let wait = move |_: &mut u32| {
            begun.send(()).unwrap();
            let _ = blocked.recv();
        };
        let _first = worker.submit(LONG, wait, drop).unwrap();
        has_begun.recv().unwrap();
        let waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| worker.submit(LONG, |_| (), drop).unwrap())
            .collect();
        assert_eq!(waiting.len(), MAX_WAITING);
        assert_eq!(worker.call(LONG, |_| ()), Err(NoAnswer::Full));
        drop(release);
    }

    #[test]
    fn a_thread_that_outlives_its_worker_is_counted_until_the_call_returns() {
        let (worker, stuck) = worker();
        let release = block(&worker);
        drop(worker);
        assert_eq!(stuck.load(Ordering::Relaxed), 1);
        release.send(()).unwrap();
        while stuck.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn dropping_a_worker_drops_its_state() {
        let state = Arc::new(());
        let kept = state.clone();
        drop(Worker::start(state, Arc::default()).unwrap());
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    #[test]
    fn a_call_may_have_no_time_limit() {
        let (worker, _) = worker();
        assert_eq!(worker.call(Duration::MAX, |_| 7), Ok(7));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_thread_continues() {
        let (worker, _) = worker();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            worker.call(LONG, |_| panic!("the callback failed"))
        }));
        assert!(panicked.is_err());
        assert_eq!(worker.call(LONG, |_| 7), Ok(7));
    }
}
