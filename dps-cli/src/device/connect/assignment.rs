//! The assignment of a device in memory.

use std::io;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use dps_device::{AssignmentStore, CachedAssignment};

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
