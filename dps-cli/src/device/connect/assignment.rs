//! The assignment of a device in a file or in memory.

use std::io;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use dps_device::{AssignmentFile, AssignmentStore, CachedAssignment};

use crate::output::Output;

/// Keeps the assignment in a file, and reports on stderr if it cannot be written: the device continues without it.
#[derive(Debug)]
pub(super) struct InFile {
    pub(super) file: AssignmentFile,
    pub(super) output: Output,
}

#[async_trait]
impl AssignmentStore for InFile {
    async fn load(&self) -> io::Result<Option<CachedAssignment>> {
        self.file.load().await
    }

    async fn save(&self, assignment: &CachedAssignment) -> io::Result<()> {
        let saved = self.file.save(assignment).await;
        if let Err(error) = &saved {
            self.output
                .note(format_args!("the assignment cannot be saved: {error}"));
        }
        saved
    }

    async fn clear(&self) -> io::Result<()> {
        self.file.clear().await
    }
}

/// Keeps the assignment until the program ends.
#[derive(Debug, Default)]
pub(super) struct InMemory(Mutex<Option<CachedAssignment>>);

impl InMemory {
    fn held(&self) -> io::Result<MutexGuard<'_, Option<CachedAssignment>>> {
        self.0
            .lock()
            .map_err(|_| io::Error::other("the assignment is locked"))
    }
}

#[async_trait]
impl AssignmentStore for InMemory {
    async fn load(&self) -> io::Result<Option<CachedAssignment>> {
        Ok(self.held()?.clone())
    }

    async fn save(&self, assignment: &CachedAssignment) -> io::Result<()> {
        *self.held()? = Some(assignment.clone());
        Ok(())
    }

    async fn clear(&self) -> io::Result<()> {
        *self.held()? = None;
        Ok(())
    }
}
