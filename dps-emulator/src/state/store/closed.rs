//! The mark beside a registry file that was closed in order: such a file need not be checked when it is opened again.
//!
//! The mark holds the file's length and time of last change. It goes away when the file is opened, so that a file which
//! was not closed, and one that anything else has written to since, has none that fits.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Whether the file is as it was left by whoever closed it.
pub(super) fn is_marked(path: &Path, file: &Metadata) -> bool {
    fs::read_to_string(mark(path)).is_ok_and(|text| Some(text) == state(file))
}

/// Marks the file, which is closed. A mark that cannot be written costs no more than a check.
pub(super) fn set(path: &Path) {
    let written = fs::metadata(path).map(|file| match state(&file) {
        Some(state) => fs::write(mark(path), state),
        None => Ok(()),
    });
    if let Err(error) = written.and_then(|written| written) {
        tracing::debug!(%error, "the registry file is not marked as closed");
    }
}

/// Takes the mark away, before anything is written to the file.
pub(super) fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(mark(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn mark(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".closed");
    name.into()
}

/// `None` on a system that keeps no times.
fn state(file: &Metadata) -> Option<String> {
    let changed = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!(
        "{} bytes, changed {}.{:09}\n",
        file.len(),
        changed.as_secs(),
        changed.subsec_nanos()
    ))
}
