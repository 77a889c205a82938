//! Runs certificate verification on blocking threads, so that a request with an expensive chain delays nobody else.

use std::sync::Arc;
use std::thread::available_parallelism;

use dps_types::ErrorCode;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::service_error::ServiceError;

/// Limits how many certificate chains are verified at the same time. The others wait for their turn.
#[derive(Debug)]
pub(crate) struct ChainVerifier {
    permits: Arc<Semaphore>,
}

impl Default for ChainVerifier {
    /// Half of the processors: the rest serves all other requests.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            permits: Arc::new(Semaphore::new((processors / 2).max(1))),
        }
    }
}

impl ChainVerifier {
    /// Runs the work on a blocking thread. A caller that goes away does not stop it, and its permit stays in use.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let done = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.unwrap_or_else(|error| {
            let message = "The certificate could not be verified.";
            Err(ServiceError::new(ErrorCode::SERVER_ERROR, message)
                .with_reason(format!("verifying the certificate failed: {error}")))
        })
    }
}
