//! Runs certificate verification on blocking threads, so that a request with an expensive chain does not delay others.

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
    /// Runs the work on a blocking thread. A caller that is dropped does not stop it, and its permit stays in use.
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn verification_does_not_block_the_async_workers() {
        let verifier = ChainVerifier::default();
        let (send, receive) = channel();
        let work = verifier.run(move || {
            receive
                .recv()
                .expect("the other half runs at the same time");
            Ok(7)
        });
        // On the only worker, the work would wait for ever.
        let (result, ()) = tokio::join!(work, async {
            send.send(()).expect("received");
        });
        assert_eq!(result, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_with_a_reason() {
        let verifier = ChainVerifier::default();
        let failed = verifier.run::<()>(|| panic!("for the test")).await;
        let error = failed.expect_err("it failed");
        assert_eq!(error.status(), 500);
        assert!(error.reason().contains("verifying the certificate failed"));
        assert_eq!(
            verifier.run(|| Ok(7)).await,
            Ok(7),
            "the permit is free again"
        );
    }
}
