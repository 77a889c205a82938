//! The number of devices that are registered and connected, over time.

use std::time::Duration;

/// The most points that are kept: a plot shows no more.
const MOST: usize = 1000;

/// A point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Duration,
    pub(super) registered: u64,
    pub(super) connected: u64,
}

/// The points, and the moments at which certain parts of the fleet were connected.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    devices: u64,
    moments: Vec<Moment>,
    every: usize,
    seen: usize,
    last: Option<Moment>,
    milestones: Vec<(u64, Duration)>,
}

/// The parts of the fleet that a report names, in percent.
const PERCENTS: [u64; 5] = [1, 50, 90, 99, 100];

impl Timeline {
    pub(super) fn new(devices: u64) -> Self {
        Self {
            devices,
            moments: Vec::new(),
            every: 1,
            seen: 0,
            last: None,
            milestones: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, moment: Moment) {
        while let Some(percent) = PERCENTS.get(self.milestones.len()) {
            if moment.connected * 100 < self.devices * percent {
                break;
            }
            self.milestones.push((*percent, moment.at));
        }
        if self.seen.is_multiple_of(self.every) {
            self.moments.push(moment);
        }
        self.seen += 1;
        self.last = Some(moment);
        if self.moments.len() == MOST {
            let mut index = 0;
            self.moments.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// The points, the last one included.
    pub(super) fn moments(&self) -> impl Iterator<Item = Moment> {
        self.moments.iter().copied().chain(self.last)
    }

    /// The moments at which 1, 50, 90, 99 and 100 percent of the fleet were connected.
    pub(super) fn milestones(&self) -> &[(u64, Duration)] {
        &self.milestones
    }

    pub(super) fn end(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |moment| moment.at)
    }
}
