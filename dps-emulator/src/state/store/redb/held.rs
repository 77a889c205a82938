//! A storage backend that keeps writes in memory until the caller accepts the file, so that a refused file is not changed.
//!
//! Opening a redb file writes to it (recovery, the flag of an open file) before its content can be checked.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ::redb::{BackendError, StorageBackend};

/// Clones share the file.
#[derive(Debug, Clone)]
pub(super) struct HeldFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Box<dyn StorageBackend>,
    /// The steps to write, oldest first; `None` once released.
    held: RwLock<Option<Vec<Held>>>,
}

enum Held {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

impl HeldFile {
    pub(super) fn new(file: Box<dyn StorageBackend>) -> Self {
        Self(Arc::new(Inner {
            file,
            held: RwLock::new(Some(Vec::new())),
        }))
    }

    /// Writes the held steps in their order, with their syncs. Later writes go to the file directly.
    ///
    /// redb recovers from a crash in here as from a crash of its own.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        for step in held.iter().flatten() {
            match step {
                Held::Write { offset, data } => self.0.file.write(*offset, data)?,
                Held::SetLen(len) => self.0.file.set_len(*len)?,
                Held::Sync => self.0.file.sync_data()?,
            }
        }
        *held = None;
        Ok(())
    }

    /// Holds the step; `false` once released.
    fn hold(&self, step: impl FnOnce() -> Held) -> bool {
        if self.held().is_none() {
            return false;
        }
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        held.as_mut().map(|held| held.push(step())).is_some()
    }

    fn held(&self) -> RwLockReadGuard<'_, Option<Vec<Held>>> {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for HeldFile {
    fn len(&self) -> io::Result<u64> {
        let len = self.0.file.len()?;
        Ok(self
            .held()
            .as_ref()
            .map_or(len, |steps| len_after(len, steps)))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let held = self.held();
        let Some(steps) = held.as_ref().filter(|steps| !steps.is_empty()) else {
            return self.0.file.read(offset, out);
        };
        let file_len = self.0.file.len()?;
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > len_after(file_len, steps)) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        out.fill(0);
        let part = prefix(out, file_len.saturating_sub(offset));
        if !part.is_empty() {
            self.0.file.read(offset, part)?;
        }
        for step in steps {
            match step {
                Held::Write { offset: at, data } => overlay(out, offset, data, *at),
                Held::SetLen(len) => {
                    let kept = prefix(out, len.saturating_sub(offset)).len();
                    out.get_mut(kept..).unwrap_or_default().fill(0);
                }
                Held::Sync => {}
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.hold(|| Held::SetLen(len)) {
            Ok(())
        } else {
            self.0.file.set_len(len)
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.hold(|| Held::Sync) {
            Ok(())
        } else {
            self.0.file.sync_data()
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.hold(|| Held::Write {
            offset,
            data: data.to_vec(),
        }) {
            Ok(())
        } else {
            self.0.file.write(offset, data)
        }
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write { offset, data } => write!(f, "Write({offset}, {} bytes)", data.len()),
            Self::SetLen(len) => write!(f, "SetLen({len})"),
            Self::Sync => f.write_str("Sync"),
        }
    }
}

/// The length of a file of `len` bytes once the steps are written.
fn len_after(len: u64, steps: &[Held]) -> u64 {
    steps.iter().fold(len, |len, step| match step {
        Held::Write { offset, data } => len.max(offset + data.len() as u64),
        Held::SetLen(len) => *len,
        Held::Sync => len,
    })
}

/// At most the first `len` bytes.
fn prefix(bytes: &mut [u8], len: u64) -> &mut [u8] {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
    bytes.split_at_mut(len).0
}

/// Copies the part of `data` that overlaps `out`. `data_at` and `out_at` are their offsets in the file.
fn overlay(out: &mut [u8], out_at: u64, data: &[u8], data_at: u64) {
    let start = out_at.max(data_at);
    let end = (out_at + out.len() as u64).min(data_at + data.len() as u64);
    if start < end {
        let len = (end - start) as usize;
        let (to, from) = ((start - out_at) as usize, (start - data_at) as usize);
        if let (Some(to), Some(from)) = (out.get_mut(to..to + len), data.get(from..from + len)) {
            to.copy_from_slice(from);
        }
    }
}
