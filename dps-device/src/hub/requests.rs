//! The requests that have no response yet: those to be sent, and those that wait for an answer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::request::{Answer, Pending};
use crate::error::{Error, ErrorKind};
use crate::poll::{Pace, after, draw};

/// The maximum number of requests in progress. The callers of further requests wait.
const MAX_REQUESTS: usize = 64;

#[derive(Default)]
pub(super) struct Requests {
    waiting: VecDeque<Waiting>,
    sent: HashMap<String, Sent>,
    /// The hub asked for a wait, which applies to all requests.
    hold: Option<Instant>,
}

pub(super) struct Waiting {
    pub(super) pending: Box<dyn Pending>,
    not_before: Instant,
    pace: Pace,
}

pub(super) struct Sent {
    pub(super) pending: Box<dyn Pending>,
    due: Instant,
    pace: Pace,
}

impl Requests {
    pub(super) fn has_capacity(&self) -> bool {
        self.waiting.len() + self.sent.len() < MAX_REQUESTS
    }

    pub(super) fn add(&mut self, pending: Box<dyn Pending>, min_interval: Duration) {
        self.waiting.push_back(Waiting {
            pending,
            not_before: Instant::now(),
            pace: Pace::new(min_interval),
        });
    }

    /// The next request that may be sent. Requests whose callers no longer wait are dropped.
    pub(super) fn next_due(&mut self) -> Option<Waiting> {
        self.waiting
            .retain(|waiting| !waiting.pending.is_abandoned());
        let now = Instant::now();
        if self.hold.is_some_and(|hold| hold > now) {
            return None;
        }
        let position = self
            .waiting
            .iter()
            .position(|waiting| waiting.not_before <= now)?;
        self.waiting.remove(position)
    }

    /// `limit` is the time for an answer, unless the request has its own.
    pub(super) fn sent(&mut self, rid: String, waiting: Waiting, limit: Duration) {
        let Waiting { pending, pace, .. } = waiting;
        let due = after(pending.limit().unwrap_or(limit));
        self.sent.insert(rid, Sent { pending, due, pace });
    }

    /// The request that was sent with this id.
    pub(super) fn take(&mut self, rid: &str) -> Option<Sent> {
        self.sent.remove(rid)
    }

    /// Passes an answer to the request, which stays here if another answer follows.
    pub(super) fn answered(&mut self, rid: String, sent: Sent, answer: Answer, limit: Duration) {
        let Sent { pending, pace, .. } = sent;
        let due = after(pending.limit().unwrap_or(limit));
        if let Some(pending) = pending.answered(Ok(answer)) {
            self.sent.insert(rid, Sent { pending, due, pace });
        }
    }

    /// Sends a request that failed again after a wait, which is returned.
    pub(super) fn retry(&mut self, sent: Sent, error: &Error) -> Duration {
        let retry_after = error.retry_after();
        let Sent {
            pending, mut pace, ..
        } = sent;
        pace.failed_as(error.kind());
        let wait = pace.wait(retry_after, draw(), Duration::MAX);
        let wait = wait.unwrap_or(Duration::from_secs(60));
        let not_before = after(wait);
        if retry_after.is_some() {
            self.hold = Some(not_before);
        }
        self.waiting.push_front(Waiting {
            pending,
            not_before,
            pace,
        });
        wait
    }

    /// Sends a request again over the next link.
    pub(super) fn again(&mut self, sent: Sent) {
        let Sent { pending, pace, .. } = sent;
        self.waiting.push_front(Waiting {
            pending,
            not_before: Instant::now(),
            pace,
        });
    }

    /// The link is lost: requests without an answer are sent again.
    pub(super) fn rewind(&mut self) {
        let sent: Vec<_> = self.sent.drain().map(|(_, sent)| sent).collect();
        sent.into_iter().for_each(|sent| self.again(sent));
    }

    pub(super) fn fail(&mut self, error: &Error) {
        self.rewind();
        for waiting in self.waiting.drain(..) {
            let _ = waiting.pending.answered(Err(error.clone()));
        }
    }

    /// True if no answer is expected.
    pub(super) fn is_quiet(&self) -> bool {
        self.sent.is_empty()
    }

    /// Fails the requests with their own limit whose answers are overdue. Returns true if the answer to another one is overdue.
    pub(super) fn fail_overdue(&mut self) -> bool {
        let now = Instant::now();
        let mut overdue: Vec<_> = self
            .sent
            .extract_if(|_, sent| sent.due <= now && sent.pending.limit().is_some())
            .collect();
        for (_, sent) in overdue.drain(..) {
            let what = "the hub did not answer, and may not have this request";
            let _ = sent
                .pending
                .answered(Err(Error::new(ErrorKind::Deadline, what)));
        }
        self.overdue().is_some_and(|due| due <= now)
    }

    /// The time at which an answer is overdue.
    pub(super) fn overdue(&self) -> Option<Instant> {
        self.sent.values().map(|sent| sent.due).min()
    }

    /// The time at which the next waiting request may be sent.
    pub(super) fn next_start(&self) -> Option<Instant> {
        let first = self
            .waiting
            .iter()
            .map(|waiting| waiting.not_before)
            .min()?;
        Some(self.hold.map_or(first, |hold| hold.max(first)))
    }
}
