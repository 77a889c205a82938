//! A TPM that is ready for use. It runs one use at a time, on threads for blocking work.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tracing::{Span, debug};

use super::connection::Connection;
use super::error::TpmError;
use super::options::TpmOptions;
use crate::attestation::blocking::AbortOnDrop;
use crate::error::Error;

/// The TLS handshakes that may wait for the TPM at once, each with a thread. A thread ends when the TPM answers.
const MAX_THREADS: usize = 8;

/// A TPM. Clones are cheap and share the TPM: their uses wait for each other.
///
/// It keeps no connection: each use opens one and leaves nothing loaded, so the TPM works again after a restart. Another `Tpm` or
/// another program does not wait, so use a resource manager to share a TPM with them.
///
/// The work is done on tokio's threads for blocking work; in a TLS handshake the thread of the connection waits for it as well.
/// At most 8 handshakes wait for a TPM at once; another one fails, which limits the threads that a TPM keeps if it never answers.
///
/// **A TPM cannot be interrupted**: if the future is dropped, or the timeout ([`TpmOptions::with_timeout`]) expires, a command that
/// has begun is finished and cleaned up in the background. A use that still waits for another one does not begin.
#[derive(Clone)]
pub struct Tpm(Arc<Inner>);

struct Inner {
    options: TpmOptions,
    /// Async callers wait here, so that only one of them blocks a thread.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Held while the TPM works, also for a caller that is not async, which is TLS.
    busy: Mutex<()>,
    /// The threads of callers that are not async.
    threads: Arc<AtomicUsize>,
    /// The TPM was reached before, so that the options are right.
    was_reached: AtomicBool,
}

impl Tpm {
    /// Checks that the TPM can be used. It creates no key yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if there is no TPM at the TCTI, or the user
    /// is not allowed to open it, or if the options have one handle for the hub key and for its spare.
    /// [`ErrorKind::Signing`](crate::ErrorKind::Signing) if the TPM fails, [`ErrorKind::Deadline`](crate::ErrorKind::Deadline) if it is
    /// busy or late. The source is a [`TpmError`].
    pub async fn open(options: TpmOptions) -> Result<Self, Error> {
        options.check()?;
        let tpm = Self(Arc::new(Inner {
            options,
            turn: Arc::default(),
            busy: Mutex::default(),
            threads: Arc::default(),
            was_reached: AtomicBool::default(),
        }));
        let handle = tpm.options().endorsement_key;
        tpm.run(move |connection| connection.persistent(handle).map(drop))
            .await
            .map_err(|error| error.into_error("the TPM cannot be used"))?;
        debug!(tcti = %tpm.options().tcti, "the TPM is ready");
        Ok(tpm)
    }

    pub(super) fn options(&self) -> &TpmOptions {
        &self.0.options
    }

    /// Runs one use of the TPM.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection<'_>) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        self.on_blocking_thread(move |tpm| tpm.run_here(job))
            .await?
    }

    /// Runs work that uses the TPM on a thread for blocking work, after earlier uses.
    pub(super) async fn on_blocking_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, TpmError> {
        let timeout = self.options().timeout;
        let work = async {
            let turn = self.0.turn.clone().lock_owned().await;
            let (tpm, span) = (self.clone(), Span::current());
            AbortOnDrop(spawn_blocking(move || {
                let result = span.in_scope(|| work(&tpm));
                drop(turn);
                result
            }))
            .await
            .map_err(unfinished)
        };
        within(timeout, work).await
    }

    /// Runs one use of the TPM for a caller that cannot await, which is TLS. Blocks the thread until the timeout at most.
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection<'_>) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        let (timeout, tpm, span) = (self.options().timeout, self.clone(), Span::current());
        let deadline = Instant::now().checked_add(timeout);
        let (done, result) = mpsc::sync_channel(1);
        let counted = Counted::new(&self.0.threads)?;
        // Sending fails if the caller no longer waits, which is fine.
        let work = move || {
            let _counted = counted;
            drop(done.send(span.in_scope(|| tpm.run_before(deadline, job))));
        };
        thread::Builder::new()
            .name("tpm".to_owned())
            .spawn(work)
            .map_err(|_| TpmError::refused("a thread for the TPM cannot be started"))?;
        result
            .recv_timeout(timeout)
            .unwrap_or_else(|end| match end {
                RecvTimeoutError::Timeout => Err(TpmError::timed_out(timeout)),
                RecvTimeoutError::Disconnected => {
                    Err(TpmError::refused("the thread of the TPM panicked"))
                }
            })
    }

    /// Runs one use of the TPM on this thread, without a timeout.
    pub(super) fn run_here<T>(
        &self,
        job: impl FnOnce(&mut Connection<'_>) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        self.run_before(None, job)
    }

    /// Runs one use of the TPM on this thread, unless the wait for other uses lasted until the deadline.
    fn run_before<T>(
        &self,
        deadline: Option<Instant>,
        job: impl FnOnce(&mut Connection<'_>) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let _busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(TpmError::timed_out(self.options().timeout));
        }
        let was_reached = &self.0.was_reached;
        let opened = Connection::open(self.options());
        let mut connection = opened.map_err(|error| match was_reached.load(Ordering::Relaxed) {
            true => error.after_success(),
            false => error,
        })?;
        was_reached.store(true, Ordering::Relaxed);
        job(&mut connection)
    }
}

impl fmt::Debug for Tpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tpm").field(self.options()).finish()
    }
}

/// A thread that uses the TPM for a caller that is not async, or waits to do so.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(threads: &Arc<AtomicUsize>) -> Result<Self, TpmError> {
        let counted = Self(threads.clone());
        match threads.fetch_add(1, Ordering::Relaxed) {
            0..MAX_THREADS => Ok(counted),
            _ => Err(TpmError::too_many(MAX_THREADS)),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, TpmError>>,
) -> Result<T, TpmError> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(TpmError::timed_out(limit)))
}

fn unfinished(error: JoinError) -> TpmError {
    match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => TpmError::refused("the runtime is shutting down"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hub_key_and_its_spare_have_two_handles() {
        let handle = super::super::options::PersistentHandle::HUB_KEY;
        let error = Tpm::open(TpmOptions::default().with_hub_key_spare(handle)).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
        let text = error.to_string();
        assert!(
            text.contains("the hub key and its spare have the handle 0x81000100"),
            "{text}"
        );
    }

    #[test]
    fn the_threads_are_bounded_and_one_that_ends_is_not_counted() {
        let threads = Arc::default();
        let mut counted: Vec<_> = (0..MAX_THREADS)
            .map(|_| Counted::new(&threads).unwrap())
            .collect();
        for _ in 0..2 {
            let error = Counted::new(&threads).err().unwrap();
            assert!(error.to_string().contains("have not returned"), "{error}");
            assert_eq!(error.into_error("").kind(), crate::ErrorKind::Deadline);
        }
        counted.pop();
        Counted::new(&threads).unwrap();
    }
}
