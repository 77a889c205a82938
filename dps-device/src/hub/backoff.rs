//! How long to wait after a failure, and when to stop: the pace of [`poll`](crate::poll) and a deadline.

use std::time::Duration;

use tokio::time::Instant;

use super::endpoint::HubEndpoint;
use crate::error::{Error, ErrorKind};
use crate::poll::{Pace, after, draw};

pub(super) struct Backoff {
    pace: Pace,
    timeout: Duration,
    /// When to give up. Set at the first sign of trouble, removed by the next success.
    deadline: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(hub: &HubEndpoint) -> Self {
        Self {
            pace: Pace::new(hub.min_interval),
            timeout: hub.timeout,
            deadline: None,
        }
    }

    /// Starts the timeout unless it already runs.
    pub(super) fn start(&mut self) -> Instant {
        let timeout = self.timeout;
        *self.deadline.get_or_insert_with(|| after(timeout))
    }

    /// Ends the timeout: the next failure starts it again. The pace stays as slow as it is.
    pub(super) fn stop(&mut self) {
        self.deadline = None;
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        self.stop();
        self.pace.succeeded();
    }

    /// The minimum wait before the next attempt of a caller that goes on after an error.
    pub(super) fn pause(&self) -> Duration {
        let wait = self.pace.wait(None, draw(), Duration::MAX);
        wait.unwrap_or_default()
    }

    /// The wait before the next attempt.
    ///
    /// # Errors
    /// The failure itself if a retry cannot help, `Deadline` if there is no time left for one.
    pub(super) fn after_failure(&mut self, error: Error) -> Result<(Duration, Error), Error> {
        self.pace.failed();
        if !error.kind().is_retried() {
            return Err(error);
        }
        let remaining = self.start().saturating_duration_since(Instant::now());
        match self.pace.wait(error.retry_after(), draw(), remaining) {
            Some(wait) => Ok((wait, error)),
            None => {
                let what = format!("the hub could not be reached within {:?}", self.timeout);
                Err(Error::new(ErrorKind::Deadline, what)
                    .with_retry_after(error.retry_after())
                    .with_source(error))
            }
        }
    }
}
