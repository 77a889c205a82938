//! A small file that only its owner can read, and that a power failure leaves either old or new.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The operations on files. Each is one step, after which the power may fail.
pub(crate) trait FileSystem {
    /// Reads at most `limit` bytes. `None` if the file does not exist.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Creates a file that only its owner can read, with this content. It must not exist.
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Flushes the content of a file to the disk.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Renames a file, and replaces the target if it exists.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. A missing file is not an error.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Flushes the directory of a file, so that a rename or a removal survives a power failure.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// The files of the operating system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk;

/// Replaces the file: writes a new one next to it, flushes it, and renames it.
pub(crate) fn replace(files: &impl FileSystem, path: &Path, content: &[u8]) -> io::Result<()> {
    let new = with_suffix(path, ".new");
    // A file from before a power failure is not trusted: it may be a link.
    files.remove(&new)?;
    files.create(&new, content)?;
    files.sync(&new)?;
    files.rename(&new, path)?;
    files.sync_directory(path)
}

/// The path with a suffix after the whole file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

impl FileSystem for Disk {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // With the final capacity, so that no copy of a secret stays behind.
        let length = file.metadata()?.len().min(limit);
        let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
        file.take(limit).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)?.write_all(content)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if cfg!(not(unix)) {
            return Ok(());
        }
        match path.parent() {
            Some(directory) if directory != Path::new("") => File::open(directory)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }
}
