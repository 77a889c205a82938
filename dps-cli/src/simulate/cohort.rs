//! Counts of devices in the same state, by the moment at which they act next.

use std::time::Duration;

use super::random::Random;

/// The states of a pace: more failures in a row do not change it.
pub(super) const LEVELS: usize = 8;
/// The values of the random part of a wait: each one represents an equal part of a cohort.
const PARTS: u64 = 64;

/// Devices that wait, by their wake-up and their number of failures. The longest wait bounds the memory.
pub(super) struct Cohorts {
    ring: Vec<[u64; LEVELS]>,
}

impl Cohorts {
    pub(super) fn new(longest: u64) -> Self {
        Self {
            ring: vec![[0; LEVELS]; longest as usize + 2],
        }
    }

    /// The devices that wake up now.
    pub(super) fn take(&mut self, tick: u64) -> [u64; LEVELS] {
        std::mem::take(self.slot(tick))
    }

    /// Spreads devices over their waits, one step at least.
    #[expect(clippy::indexing_slicing, reason = "every level is less than LEVELS")]
    pub(super) fn schedule(
        &mut self,
        count: u64,
        level: usize,
        tick: u64,
        step: Duration,
        random: &mut Random,
        wait: impl Fn(f64) -> Duration,
    ) {
        if count == 0 {
            return;
        }
        let (each, rest) = (count / PARTS, count % PARTS);
        let first = random.next() % PARTS;
        for part in 0..PARTS {
            // The rest goes to parts that are evenly apart, from a random one on.
            let position = (part + first) % PARTS;
            let extra = (position + 1) * rest / PARTS - position * rest / PARTS;
            let devices = each + extra;
            if devices == 0 {
                continue;
            }
            let draw = (part as f64 + random.fraction()) / PARTS as f64;
            let steps = (wait(draw).as_secs_f64() / step.as_secs_f64()).ceil() as u64;
            let steps = steps.clamp(1, self.ring.len() as u64 - 1);
            self.slot(tick + steps)[level] += devices;
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a remainder of the length is less than the length"
    )]
    fn slot(&mut self, tick: u64) -> &mut [u64; LEVELS] {
        let slot = tick % self.ring.len() as u64;
        &mut self.ring[slot as usize]
    }
}

/// Devices that are served one after the other, at a rate.
pub(super) struct Queue {
    per_tick: f64,
    credit: f64,
    length: u64,
}

impl Queue {
    pub(super) fn new(per_tick: f64) -> Self {
        Self {
            per_tick,
            credit: 0.0,
            length: 0,
        }
    }

    pub(super) fn add(&mut self, count: u64) {
        self.length += count;
    }

    /// The number that is served in this step. Unused time is lost, except for a part of one device.
    pub(super) fn serve(&mut self) -> u64 {
        self.credit += self.per_tick;
        let served = self.length.min(self.credit as u64);
        self.length -= served;
        self.credit -= served as f64;
        if self.length == 0 {
            self.credit = self.credit.min(self.per_tick.max(1.0));
        }
        served
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Divides a number among the levels in proportion to their devices.
#[expect(clippy::indexing_slicing, reason = "every level is less than LEVELS")]
pub(super) fn share(number: u64, due: &[u64; LEVELS], random: &mut Random) -> [u64; LEVELS] {
    let total: u64 = due.iter().sum();
    let mut shares = [0; LEVELS];
    if total == 0 {
        return shares;
    }
    for (share, count) in shares.iter_mut().zip(due) {
        *share = (u128::from(*count) * u128::from(number) / u128::from(total)) as u64;
    }
    let mut rest = number - shares.iter().sum::<u64>();
    let mut level = random.next() as usize % LEVELS;
    while rest > 0 {
        if shares[level] < due[level] {
            shares[level] += 1;
            rest -= 1;
        }
        level = (level + 1) % LEVELS;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_device_is_lost_and_each_wait_is_within_its_bounds() {
        let step = Duration::from_millis(100);
        for count in [1, 63, 64, 65, 1000] {
            let mut cohorts = Cohorts::new(100);
            let wait = |draw: f64| Duration::from_secs_f64(2.0 + draw);
            cohorts.schedule(count, 3, 7, step, &mut Random::new(count), wait);
            let mut found = 0;
            for tick in 7..107 {
                let due = cohorts.take(tick)[3];
                assert!(due == 0 || (27..=37).contains(&tick), "{tick}");
                found += due;
            }
            assert_eq!(found, count);
        }
    }

    #[test]
    fn shares_add_up_and_do_not_exceed_what_is_due() {
        let due = [5, 0, 1, 100, 0, 0, 0, 2];
        for number in [0, 1, 7, 107, 108] {
            let shares = share(number, &due, &mut Random::new(3));
            assert_eq!(shares.iter().sum::<u64>(), number);
            assert!(shares.iter().zip(&due).all(|(share, due)| share <= due));
        }
    }

    #[test]
    fn a_queue_serves_its_rate() {
        let mut queue = Queue::new(0.25);
        queue.add(10);
        let served: u64 = (0..20).map(|_| queue.serve()).sum();
        assert_eq!((served, queue.length()), (5, 5));
    }
}
