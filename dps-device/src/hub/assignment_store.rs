//! The trait for a store that keeps the assignment of a device over restarts.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;

use super::cached_assignment::CachedAssignment;

/// A place where a device keeps its assignment over restarts. [`AssignmentFile`](crate::AssignmentFile) is one.
///
/// If a method fails or takes longer than 30 seconds, the failure is logged and the device continues as if the store were empty:
/// it registers.
#[async_trait]
pub trait AssignmentStore: fmt::Debug + Send + Sync {
    /// Loads the assignment that was saved last. `None` if the store is empty.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn load(&self) -> io::Result<Option<CachedAssignment>>;

    /// Replaces the assignment, completely or not at all, even if the power fails.
    ///
    /// # Errors
    /// If the previous assignment may still be there.
    async fn save(&self, assignment: &CachedAssignment) -> io::Result<()>;

    /// Removes the assignment. An empty store is not an error.
    ///
    /// # Errors
    /// If the assignment may still be there.
    async fn clear(&self) -> io::Result<()>;
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        #[async_trait]
        impl<S: AssignmentStore + ?Sized> AssignmentStore for $pointer {
            async fn load(&self) -> io::Result<Option<CachedAssignment>> {
                (**self).load().await
            }

            async fn save(&self, assignment: &CachedAssignment) -> io::Result<()> {
                (**self).save(assignment).await
            }

            async fn clear(&self) -> io::Result<()> {
                (**self).clear().await
            }
        }
    )+};
}

forward!(&S, Box<S>, Arc<S>);
