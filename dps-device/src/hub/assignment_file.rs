//! An assignment store in a file that is replaced atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::assignment_store::AssignmentStore;
use super::cached_assignment::CachedAssignment;
use super::monitor::Chain;

/// Keeps the assignment in a file and replaces it atomically: the new file is written next to it, flushed to the disk, and
/// renamed. If the power fails, the file has either the old or the new content.
///
/// Only the owner can read the file (mode 600): it holds no credential, but may hold the payload of the operator's webhook. A
/// damaged file is logged and counts as missing. Only one program may use the file at a time.
#[derive(Debug, Clone)]
pub struct AssignmentFile {
    path: PathBuf,
    /// Held during each use of the file, also after the caller's future was dropped, so that uses do not overtake each other.
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
        let json = assignment.to_json();
        self.blocking(move |path| replace(path, &json)).await
    }

    async fn clear(&self) -> io::Result<()> {
        self.blocking(|path| {
            remove(path)?;
            sync_directory(path)
        })
        .await
    }
}

fn load(path: &Path) -> io::Result<Option<CachedAssignment>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut json = Vec::new();
    file.take(CachedAssignment::MAX_BYTES as u64 + 1)
        .read_to_end(&mut json)?;
    match CachedAssignment::from_json(&json) {
        Ok(assignment) => Ok(Some(assignment)),
        Err(error) => {
            warn!(path = %path.display(), error = %Chain(&error), "the file is ignored");
            Ok(None)
        }
    }
}

fn replace(path: &Path, json: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // A file from before a power failure is not trusted: it may be a link.
    remove(&new)?;
    let mut file = create_private(&new)?;
    file.write_all(json)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)?;
    sync_directory(path)
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Flushes the directory of a file, so that a rename survives a power failure. Windows does not need it.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match path.parent() {
        Some(directory) if directory != Path::new("") => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
