//! How long to go on with what may get better: the pace of [`poll`](crate::poll) and a deadline.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::settings::HubEndpoint;
use crate::error::{Error, ErrorKind};
use crate::poll::{Pace, after, draw};

pub(super) struct Backoff {
    pace: Pace,
    limit: Duration,
    /// Counts from the next failure where it is not set.
    deadline: Option<Instant>,
}

impl Backoff {
    /// Time runs from now on.
    pub(super) fn new(hub: &HubEndpoint) -> Self {
        Self {
            pace: Pace::new(hub.min_interval),
            limit: hub.deadline,
            deadline: Some(after(hub.deadline)),
        }
    }

    /// The whole time again, from the next failure on. How slow we have become stays.
    pub(super) fn begin_anew(&mut self) {
        self.deadline = None;
    }

    /// All is well.
    pub(super) fn succeeded(&mut self) {
        self.pace.succeeded();
    }

    /// What not even somebody who goes on after an error should be spared.
    pub(super) fn pause(&self) -> Duration {
        let wait = self.pace.wait(None, draw(), Duration::MAX);
        wait.unwrap_or_default()
    }

    /// The wait before the next try. What does not get better is given back, and time runs out.
    pub(super) fn failed(&mut self, error: Error) -> Result<Duration, Error> {
        self.pace.failed();
        if !error.kind().is_retried() {
            return Err(error);
        }
        let deadline = *self.deadline.get_or_insert_with(|| after(self.limit));
        let remaining = deadline.saturating_duration_since(Instant::now());
        match self.pace.wait(error.retry_after(), draw(), remaining) {
            Some(wait) => {
                debug!(%error, ?wait, "trying the hub again");
                Ok(wait)
            }
            None => {
                let what = format!("the hub could not be reached within {:?}", self.limit);
                Err(Error::new(ErrorKind::Deadline, what)
                    .with_retry_after(error.retry_after())
                    .with_source(error))
            }
        }
    }
}
