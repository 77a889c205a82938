//! The resident memory and the open files of a process.

use std::fs;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

/// The size of a page in `/proc/PID/statm`. Source: proc(5); 4 KiB on the systems that this runs on.
const PAGE: u64 = 4096;

/// The memory and the files that a process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory in bytes.
    pub(crate) memory: u64,
    /// Open file descriptors.
    pub(crate) files: u64,
}

impl Usage {
    /// Reads both from `/proc`. Zero if the process has ended.
    pub(crate) fn of(process_id: u32) -> Self {
        let statm = fs::read_to_string(format!("/proc/{process_id}/statm")).unwrap_or_default();
        let pages = statm.split(' ').nth(1);
        let pages: u64 = pages.and_then(|pages| pages.parse().ok()).unwrap_or(0);
        let files = fs::read_dir(format!("/proc/{process_id}/fd"));
        Self {
            memory: pages * PAGE,
            files: files.map_or(0, |files| files.count() as u64),
        }
    }

    /// The larger of each.
    fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            files: self.files.max(other.files),
        }
    }
}

/// Runs the future, and returns the highest usage of the process in that time.
pub(crate) async fn highest<T>(process_id: u32, work: impl Future<Output = T>) -> (T, Usage) {
    let mut highest = Usage::of(process_id);
    let mut sampling = JoinSet::new();
    let (samples, mut received) = tokio::sync::mpsc::unbounded_channel();
    sampling.spawn(async move {
        while samples.send(Usage::of(process_id)).is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    tokio::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            Some(usage) = received.recv() => highest = highest.max(usage),
        }
    };
    (done, highest.max(Usage::of(process_id)))
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}
