//! The resident memory of a process over time.

use std::fmt;

/// Samples of the resident memory of a process, in KiB. Empty where `/proc` does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(Vec<u64>);

impl Memory {
    pub(super) fn sample(&mut self, process_id: u32) {
        let status = std::fs::read_to_string(format!("/proc/{process_id}/status"));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        self.0.extend(kib.and_then(|kib| kib.parse::<u64>().ok()));
    }

    /// The means of the second and of the last quarter, in KiB. The first quarter has the start.
    pub fn means(&self) -> (u64, u64) {
        let quarter = self.0.len() / 4;
        let mean = |samples: &[u64]| {
            samples.iter().sum::<u64>() / u64::try_from(samples.len()).unwrap_or(1).max(1)
        };
        let last = self.0.len() - quarter;
        (mean(&self.0[quarter..2 * quarter]), mean(&self.0[last..]))
    }

    /// Returns true if the last quarter is at most a tenth and 8 MiB above the second one.
    pub fn is_flat(&self) -> bool {
        let (before, after) = self.means();
        after <= before + before / 10 + 8 * 1024
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.means();
        let most = self.0.iter().max().copied().unwrap_or_default();
        let verdict = if self.is_flat() { "flat" } else { "grows" };
        write!(
            f,
            "second quarter {before} KiB, last quarter {after} KiB, maximum {most} KiB: {verdict}"
        )
    }
}
