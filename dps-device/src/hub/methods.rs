//! The direct methods whose callers wait for a response.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::poll::after;

/// The maximum number of callers that wait. Further requests are answered with 429.
const MAX_METHODS: usize = 64;

pub(super) struct Methods {
    timeout: Duration,
    deadlines: HashMap<String, Instant>,
}

impl Methods {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            deadlines: HashMap::new(),
        }
    }

    /// Adds the request with this id, and returns its deadline. `None` if there are too many.
    pub(super) fn add(&mut self, rid: &str) -> Option<Instant> {
        let is_known = self.deadlines.contains_key(rid);
        if !is_known && self.deadlines.len() == MAX_METHODS {
            return None;
        }
        let deadline = after(self.timeout);
        self.deadlines.insert(rid.to_owned(), deadline);
        Some(deadline)
    }

    /// Returns false if no caller waits for this response.
    pub(super) fn remove(&mut self, rid: &str) -> bool {
        self.deadlines.remove(rid).is_some()
    }

    /// Removes a request whose time limit has passed.
    pub(super) fn take_overdue(&mut self) -> Option<String> {
        let now = Instant::now();
        let overdue = self
            .deadlines
            .iter()
            .find(|(_, deadline)| **deadline <= now);
        let rid = overdue?.0.clone();
        self.deadlines.remove(&rid);
        Some(rid)
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        self.deadlines.values().min().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.deadlines.clear();
    }
}
