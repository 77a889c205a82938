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
///
/// # Errors
/// The text has the state of the file: it is unchanged, or a power failure may restore its earlier content.
pub(crate) fn replace(files: &impl FileSystem, path: &Path, content: &[u8]) -> io::Result<()> {
    let new = with_suffix(path, ".new");
    if let Err(error) = write(files, &new, content).and_then(|()| files.rename(&new, path)) {
        // The rest needs space, which the next attempt may lack. The first error is the cause.
        let _ = files.remove(&new);
        return Err(about(path, "was not changed", &error));
    }
    files.sync_directory(path).map_err(|error| {
        let what = "was replaced, but a power failure may restore its earlier content";
        about(path, what, &error)
    })
}

/// Checks that [`replace`] can write this many bytes: it does so, and removes them.
#[cfg(feature = "certificates")]
pub(crate) fn check_writable(files: &impl FileSystem, path: &Path, bytes: usize) -> io::Result<()> {
    let new = with_suffix(path, ".new");
    let written = write(files, &new, &vec![0; bytes]);
    let removed = files.remove(&new);
    let checked = written.and(removed);
    checked.map_err(|error| about(path, "cannot be written", &error))
}

fn write(files: &impl FileSystem, new: &Path, content: &[u8]) -> io::Result<()> {
    // A file from before a power failure is not trusted: it may be a link.
    files.remove(new)?;
    files.create(new, content)?;
    files.sync(new)
}

fn about(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} {what}: {error}", path.display()))
}

/// Checks that the path leads to a regular file. Opening a named pipe would wait for another program.
pub(crate) fn regular_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not a regular file", path.display()),
        )),
    }
}

/// The error of a document that could be written and not read again.
pub(crate) fn too_long(error: crate::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// The path with a suffix after the whole file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

impl FileSystem for Disk {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let opened = regular_file(path).and_then(|()| File::open(path));
        let file = match opened {
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The real disk, one of whose operations fails.
    struct Failing(Cell<usize>);

    impl Failing {
        fn step<T>(&self, work: io::Result<T>) -> io::Result<T> {
            let left = self.0.get();
            self.0.set(left.wrapping_sub(1));
            match left {
                0 => Err(io::ErrorKind::StorageFull.into()),
                _ => work,
            }
        }
    }

    impl FileSystem for Failing {
        fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
            Disk.read(path, limit)
        }

        fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
            // A full disk leaves a part of the content.
            self.step(Disk.create(path, content))
        }

        fn sync(&self, path: &Path) -> io::Result<()> {
            self.step(Disk.sync(path))
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            match self.step(Ok(())) {
                Ok(()) => Disk.rename(from, to),
                Err(error) => Err(error),
            }
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step(Disk.remove(path))
        }

        fn sync_directory(&self, path: &Path) -> io::Result<()> {
            self.step(Disk.sync_directory(path))
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_earlier_content_and_no_other_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("assignment.json");
        let names = || fs::read_dir(directory.path()).unwrap().count();
        for step in 0..4 {
            fs::write(&path, "earlier").unwrap();
            let error = replace(&Failing(Cell::new(step)), &path, b"new").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            let text = error.to_string();
            assert!(text.contains("assignment.json was not changed: "), "{text}");
            assert_eq!(fs::read(&path).unwrap(), b"earlier", "{step}");
            assert_eq!(names(), 1, "{step}");
        }
        let error = replace(&Failing(Cell::new(4)), &path, b"new").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("assignment.json was replaced, but "),
            "{text}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"new");
        replace(&Failing(Cell::new(5)), &path, b"newer").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
    }

    #[cfg(feature = "certificates")]
    #[test]
    fn a_check_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credential.json");
        check_writable(&Disk, &path, 100).unwrap();
        for step in 0..4 {
            let error = check_writable(&Failing(Cell::new(step)), &path, 100).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("credential.json cannot be written: "),
                "{text}"
            );
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
