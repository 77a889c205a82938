//! The resident memory and the open files of a process over time.

use std::fmt;

/// Samples of the resident memory of a process, in KiB, and of the processes that have replaced it after a restart. Empty where `/proc`
/// does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(Vec<Life>);

/// The samples of one process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Life {
    process_id: u32,
    kib: Vec<u64>,
}

impl Memory {
    pub(super) fn sample(&mut self, process_id: u32) {
        let status = std::fs::read_to_string(format!("/proc/{process_id}/status"));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        if let Some(kib) = kib.and_then(|kib| kib.parse().ok()) {
            self.add(process_id, kib);
        }
    }

    fn add(&mut self, process_id: u32, kib: u64) {
        match self.0.last_mut() {
            Some(life) if life.process_id == process_id => life.kib.push(kib),
            _ => self.0.push(Life {
                process_id,
                kib: vec![kib],
            }),
        }
    }

    /// The means of the second and of the last quarter of the time of a process, in KiB: those of the process that has grown the most.
    /// The first quarter has the start.
    pub fn means(&self) -> (u64, u64) {
        let all = self.0.iter().map(Life::means);
        all.max_by_key(|(before, after)| after.saturating_sub(*before))
            .unwrap_or_default()
    }

    /// Returns true if the last quarter is at most a tenth and 8 MiB above the second one, for each process.
    pub fn is_flat(&self) -> bool {
        let mut all = self.0.iter().map(Life::means);
        all.all(|(before, after)| after <= before + before / 10 + 8 * 1024)
    }
}

impl Life {
    fn means(&self) -> (u64, u64) {
        let quarter = self.kib.len() / 4;
        let mean = |samples: &[u64]| {
            samples.iter().sum::<u64>() / u64::try_from(samples.len()).unwrap_or(1).max(1)
        };
        let last = self.kib.len() - quarter;
        (
            mean(&self.kib[quarter..2 * quarter]),
            mean(&self.kib[last..]),
        )
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.means();
        let all = self.0.iter().flat_map(|life| &life.kib);
        let most = all.max().copied().unwrap_or_default();
        let verdict = if self.is_flat() { "flat" } else { "grows" };
        write!(
            f,
            "second quarter {before} KiB, last quarter {after} KiB, maximum {most} KiB: {verdict}"
        )
    }
}

/// Samples of the number of open files of a process. Empty where `/proc` does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenFiles(Vec<u64>);

impl OpenFiles {
    pub(super) fn sample(&mut self, process_id: u32) {
        let files = std::fs::read_dir(format!("/proc/{process_id}/fd"));
        self.0.extend(files.map(|files| files.count() as u64));
    }

    /// Returns true if the most files of the second half are at most a tenth and 16 above those of the first half.
    pub fn is_flat(&self) -> bool {
        let (before, after) = self.most();
        after <= before + before / 10 + 16
    }

    /// The most files in each half.
    fn most(&self) -> (u64, u64) {
        let (first, second) = self.0.split_at(self.0.len() / 2);
        let most = |samples: &[u64]| samples.iter().max().copied().unwrap_or_default();
        (most(first), most(second))
    }
}

impl fmt::Display for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.most();
        let verdict = if self.is_flat() { "flat" } else { "grows" };
        write!(
            f,
            "first half at most {before}, second half at most {after}: {verdict}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(processes: &[&[u64]]) -> Memory {
        let mut memory = Memory::default();
        for (id, samples) in (1..).zip(processes) {
            samples.iter().for_each(|kib| memory.add(id, *kib));
        }
        memory
    }

    /// A process that was restarted fills its memory again: its start is not compared with the end of the run.
    #[test]
    fn each_process_is_compared_with_itself() {
        let mib = 1024;
        let filled = [20 * mib, 100 * mib, 106 * mib, 107 * mib];
        assert!(memory(&[&filled, &filled, &filled]).is_flat());
        let growing = [20 * mib, 100 * mib, 120 * mib, 140 * mib];
        assert!(!memory(&[&filled, &growing, &filled]).is_flat());
        assert_eq!(memory(&[&filled, &growing]).means(), (100 * mib, 140 * mib));
        assert!(memory(&[]).is_flat());
    }
}
