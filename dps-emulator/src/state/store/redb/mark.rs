//! The mark file next to a registry file. It records whether the registry file is open or was closed in order.
//!
//! A file that was closed in order and not changed since, and a file that a crash left open, need no integrity check. Any
//! other file does: for example, a copy without its mark, or a file that another program has written to.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

const OPEN: &str = "open\n";

/// The state of a registry file as its mark reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The file was closed in order, and has the same length and modification time as then.
    Closed,
    /// The file was in use when its process ended. Every commit is recoverable without a check.
    Open,
    /// The mark belongs to a file of another length or modification time, or cannot be read.
    Different,
    /// The file has no mark.
    Missing,
}

impl Mark {
    pub(super) fn of(path: &Path, file: &Metadata) -> Self {
        match fs::read_to_string(mark_path(path)) {
            Ok(text) if text == OPEN => Self::Open,
            Ok(text) if Some(&text) == closed(file).as_ref() => Self::Closed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Different,
        }
    }
}

/// Marks the file as open. The caller does this before it writes to the file.
pub(super) fn set_open(path: &Path) -> io::Result<()> {
    fs::write(mark_path(path), OPEN)
}

/// Marks the file as closed. If that fails, the next start is still correct.
pub(super) fn set_closed(path: &Path) {
    let written = fs::metadata(path).and_then(|file| match closed(&file) {
        Some(state) => fs::write(mark_path(path), state),
        None => fs::remove_file(mark_path(path)),
    });
    if let Err(error) = written {
        tracing::debug!(%error, "the registry file could not be marked as closed");
    }
}

fn mark_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".state");
    name.into()
}

/// `None` on a system without modification times.
fn closed(file: &Metadata) -> Option<String> {
    let changed = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!(
        "closed, {} bytes, changed {}.{:09}\n",
        file.len(),
        changed.as_secs(),
        changed.subsec_nanos()
    ))
}
