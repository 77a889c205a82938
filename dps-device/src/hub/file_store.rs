//! An assignment in a file that is there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::cached::{AssignmentStore, CachedAssignment};

/// Keeps the assignment in a file, which is replaced whole: it is written beside, brought to the disk, and put in its place.
/// Whenever the power fails, the file is the last one or the new one.
///
/// The file is for its owner alone (mode 600), although there is no secret in it. A file that cannot be read as an assignment
/// counts as none, and is logged. One program at a time may use it.
#[derive(Debug, Clone)]
pub struct AssignmentFile {
    path: PathBuf,
    /// Held by whoever works on the file, to the end: work that nobody waits for any more still comes before the next.
    turn: Arc<Mutex<()>>,
}

impl AssignmentFile {
    /// This file, in a directory that exists, on a disk that outlives a restart.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            turn: Arc::default(),
        }
    }

    /// The file.
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
            warn!(path = %path.display(), %error, "the file is no assignment, and counts as none");
            Ok(None)
        }
    }
}

fn replace(path: &Path, json: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // What a power cut has left there may be anything, a link even.
    remove(&beside)?;
    let mut file = private(&beside)?;
    file.write_all(json)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    sync_directory(path)
}

fn private(path: &Path) -> io::Result<File> {
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

/// A new name is on the disk only when its directory is. Windows has no such thing.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match path.parent() {
        Some(directory) if directory != Path::new("") => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
