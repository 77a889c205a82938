//! An assignment store in a file that is replaced atomically.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::assignment_store::AssignmentStore;
use super::cached_assignment::CachedAssignment;
use super::monitor::Chain;
use crate::private_file::{Disk, FileSystem, replace, too_long};

/// Keeps the assignment in a file and replaces it atomically: the new file is written next to it, flushed to the disk, and
/// renamed. If the power fails, the file has either the old or the new content.
///
/// Only the owner can read the file (mode 600): it holds no credential, but may hold the payload of the operator's webhook. It has a
/// checksum, and a damaged file is logged and counts as missing, so that the device registers again. A file of an earlier program
/// without a checksum is read. Only one program may use the file at a time.
///
/// ```no_run
/// # fn device(client: dps_device::ProvisioningClient) -> dps_device::ProvisionedDevice {
/// use dps_device::{AssignmentFile, ProvisionedDevice};
///
/// ProvisionedDevice::new(client, AssignmentFile::new("/var/lib/toaster/assignment.json"))
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AssignmentFile {
    path: PathBuf,
    /// Held during each use of the file, even after the caller's future was dropped, so that reads and writes keep their order.
    turn: Arc<Mutex<()>>,
}

impl AssignmentFile {
    /// Uses this file. Its directory must exist, on a disk that survives a restart.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            turn: Arc::default(),
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let path = self.path.clone();
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let done = spawn_blocking(move || {
            let _turn = turn;
            work(&path)
        });
        done.await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl AssignmentStore for AssignmentFile {
    async fn load(&self) -> io::Result<Option<CachedAssignment>> {
        self.blocking(load).await
    }

    async fn save(&self, assignment: &CachedAssignment) -> io::Result<()> {
        let json = assignment.to_json().map_err(too_long)?;
        self.blocking(move |path| replace(&Disk, path, &json)).await
    }

    async fn clear(&self) -> io::Result<()> {
        self.blocking(|path| {
            Disk.remove(path)?;
            Disk.sync_directory(path)
        })
        .await
    }
}

fn load(path: &Path) -> io::Result<Option<CachedAssignment>> {
    let Some(json) = Disk.read(path, CachedAssignment::MAX_BYTES as u64 + 1)? else {
        return Ok(None);
    };
    match CachedAssignment::from_json(&json) {
        Ok(assignment) => Ok(Some(assignment)),
        Err(error) => {
            warn!(path = %path.display(), error = %Chain(&error), "the file is ignored");
            Ok(None)
        }
    }
}
