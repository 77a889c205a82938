//! A TPM that is ready for use: one use at a time, off the async threads.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tracing::{Span, debug};

use super::connection::Connection;
use super::error::TpmError;
use super::hub_key::HubSigner;
use super::key_pair::KeyPairOptions;
use super::options::TpmOptions;
use crate::error::Error;

/// A TPM. Clones are cheap and take turns.
///
/// It keeps no connection: each use opens one and leaves nothing loaded, so that a TPM that was restarted is found again.
/// Uses wait for each other, those of another `Tpm` or program do not: let these share through a resource manager.
///
/// The waiting happens on tokio's threads for blocking work; in a TLS handshake the connection's own thread waits too.
/// **A TPM cannot be interrupted**: when the future is dropped, or time is up ([`TpmOptions::with_timeout`]), what has begun
/// goes on to its end there and cleans up; what waits for its turn does not begin.
#[derive(Clone)]
pub struct Tpm(Arc<Inner>);

struct Inner {
    options: TpmOptions,
    /// Async callers queue here, so that only one of them blocks a thread.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Held while the TPM works, also for a caller that is not async: TLS.
    busy: Mutex<()>,
}

impl Tpm {
    /// Makes sure that there is a TPM. It makes no key yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when there is none at the TCTI or it may not be
    /// opened, [`ErrorKind::Signing`](crate::ErrorKind::Signing) when it does not work. The source is a [`TpmError`].
    pub async fn open(options: TpmOptions) -> Result<Self, Error> {
        let tpm = Self(Arc::new(Inner {
            options,
            turn: Arc::default(),
            busy: Mutex::default(),
        }));
        let place = tpm.options().endorsement_key;
        tpm.run(move |connection| connection.persistent(place).map(drop))
            .await
            .map_err(|error| error.into_error("the TPM cannot be used"))?;
        debug!(tcti = %tpm.options().tcti, "the TPM is there");
        Ok(tpm)
    }

    /// Signs towards the IoT hub, with the key that the TPM has kept since a registration.
    pub fn hub_signer(&self) -> HubSigner {
        HubSigner::new(self.clone())
    }

    /// A key pair for X.509: where it is or will be, and what opens it.
    pub fn key_pair(&self) -> KeyPairOptions {
        KeyPairOptions::new(self.clone())
    }

    pub(super) fn options(&self) -> &TpmOptions {
        &self.0.options
    }

    /// One use of the TPM.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection<'_>) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        self.aside(move |tpm| tpm.run_here(job)).await?
    }

    /// Work that uses the TPM, in its turn, on a thread that may wait.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, TpmError> {
        let limit = self.options().timeout;
        let work = async {
            let turn = self.0.turn.clone().lock_owned().await;
            let (tpm, span) = (self.clone(), Span::current());
            spawn_blocking(move || {
                let result = span.in_scope(|| work(&tpm));
                drop(turn);
                result
            })
            .await
            .map_err(unfinished)
        };
        within(limit, work).await
    }

    /// One use of the TPM, for a caller that cannot await: TLS. It blocks, and no longer than the others.
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection<'_>) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        let (limit, tpm, span) = (self.options().timeout, self.clone(), Span::current());
        let (done, result) = mpsc::sync_channel(1);
        // Nobody may listen any more.
        let work = move || drop(done.send(span.in_scope(|| tpm.run_here(job))));
        thread::Builder::new()
            .name("tpm".to_owned())
            .spawn(work)
            .map_err(|_| TpmError::refused("there is no thread for it"))?;
        result.recv_timeout(limit).unwrap_or_else(|end| match end {
            RecvTimeoutError::Timeout => Err(TpmError::late(limit)),
            RecvTimeoutError::Disconnected => Err(TpmError::refused("its thread broke off")),
        })
    }

    /// One use of the TPM, on this thread, however long it takes.
    pub(super) fn run_here<T>(
        &self,
        job: impl FnOnce(&mut Connection<'_>) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let _busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        job(&mut Connection::open(self.options())?)
    }
}

impl fmt::Debug for Tpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tpm").field(self.options()).finish()
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, TpmError>>,
) -> Result<T, TpmError> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(TpmError::late(limit)))
}

fn unfinished(error: JoinError) -> TpmError {
    match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => TpmError::refused("the runtime is shutting down"),
    }
}
