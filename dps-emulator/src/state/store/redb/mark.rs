//! The mark file next to a registry file. It records whether the registry file is open or was closed in order.
//!
//! A file that was closed in order and not changed since, and a file that a crash left open, need no integrity check. Any
//! other file does: for example, a copy without its mark, or a file that another program has written to.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
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
        match read(&mark_path(path)) {
            Ok(text) if text == OPEN => Self::Open,
            Ok(text) if Some(&text) == closed(file).as_ref() => Self::Closed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Different,
        }
    }
}

/// Marks the file as open. The caller does this before it writes to the file.
pub(super) fn set_open(path: &Path) -> io::Result<()> {
    let mark = mark_path(path);
    let written = remove_unless_file(&mark).and_then(|()| fs::write(&mark, OPEN));
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", mark.display())))
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

/// Reads a mark. Opening a named pipe would wait for another program, and a longer file is not a mark.
fn read(mark: &Path) -> io::Result<String> {
    if !fs::metadata(mark)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    File::open(mark)?.take(256).read_to_string(&mut text)?;
    Ok(text)
}

/// Removes a link or a named pipe in the place of the mark.
fn remove_unless_file(mark: &Path) -> io::Result<()> {
    match fs::symlink_metadata(mark) {
        Ok(found) if !found.is_file() => fs::remove_file(mark),
        _ => Ok(()),
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
