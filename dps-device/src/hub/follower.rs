//! Follows the desired properties: every change in order, each once, and the whole twin when one was missed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::debug;

use super::event::EventBuffer;
use super::request::{GetTwin, Pending, pending};
use super::twin::{Twin, TwinProperties};
use crate::error::Error;

/// The wait after a download that the hub refused: a hub of the basic tier has no twins, but accepts telemetry.
const PAUSE: Duration = Duration::from_secs(60);

/// The maximum number of changes that are kept while the twin is downloaded.
const MAX_CHANGES: usize = 32;

#[derive(Default)]
pub(super) struct Follower {
    /// The version of the desired properties that the program has.
    known: Option<u64>,
    /// The twin was downloaded over this link, so that no later change is missed.
    caught_up: bool,
    download: Option<oneshot::Receiver<Result<Twin, Error>>>,
    /// Changes that arrived during the download.
    changes: VecDeque<TwinProperties>,
    /// A download has failed. The next one starts at this time or later.
    not_before: Option<Instant>,
}

impl Follower {
    /// Changes may have been missed before this link.
    pub(super) fn new_link(&mut self) {
        self.caught_up = false;
        self.download = None;
        self.not_before = None;
        self.changes.clear();
    }

    /// The device has another hub, whose versions cannot be compared with those of the previous one.
    pub(super) fn new_hub(&mut self) {
        *self = Self::default();
    }

    /// Returns true if a download has to wait until the program has read the events.
    pub(super) fn is_held_back(&self, events: &EventBuffer) -> bool {
        !self.caught_up && self.download.is_none() && !events.changes_are_read()
    }

    /// The time at which a download that failed is repeated.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.not_before
            .filter(|not_before| *not_before > Instant::now())
    }

    /// The request for the twin, if a download has to start.
    pub(super) fn start(&mut self, events: &EventBuffer) -> Option<Box<dyn Pending>> {
        let waits = self
            .not_before
            .is_some_and(|not_before| not_before > Instant::now());
        if waits || self.caught_up || self.download.is_some() || !events.changes_are_read() {
            return None;
        }
        self.not_before = None;
        let (request, download) = pending(GetTwin);
        self.download = Some(download);
        Some(request)
    }

    /// A change has arrived.
    pub(super) fn change(&mut self, change: TwinProperties, events: &EventBuffer) {
        if self.caught_up {
            self.apply(change, events);
        } else if self.changes.len() < MAX_CHANGES {
            self.changes.push_back(change);
        }
    }

    /// Passes a finished download to the program. A failure was logged when the answer arrived.
    pub(super) fn finish(&mut self, events: &EventBuffer) {
        let Some(Ok(outcome)) = self.download.as_mut().map(oneshot::Receiver::try_recv) else {
            return;
        };
        self.download = None;
        let Ok(twin) = outcome else {
            self.not_before = Some(Instant::now() + PAUSE);
            return;
        };
        self.caught_up = true;
        let version = twin.desired.version();
        if self.known.replace(version) != Some(version) {
            events.push_twin(twin);
        }
        for change in std::mem::take(&mut self.changes) {
            self.apply(change, events);
        }
    }

    fn apply(&mut self, change: TwinProperties, events: &EventBuffer) {
        match self.known {
            Some(known) if change.version() <= known => {}
            Some(known) if self.caught_up && known.checked_add(1) == Some(change.version()) => {
                let version = change.version();
                match events.push_change(change) {
                    true => self.known = Some(version),
                    false => self.caught_up = false,
                }
            }
            _ => {
                debug!("a change of the desired properties is missing: downloading the twin");
                self.caught_up = false;
            }
        }
    }
}
