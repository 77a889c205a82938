//! Opens or creates a registry file. A file that is refused is left unchanged.

use std::borrow::Cow;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use ::redb::backends::FileBackend;
use ::redb::{
    Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError, TableDefinition,
    TableError,
};

use super::super::StoreError;
use super::held::HeldFile;
use super::mark::{self, Mark};

/// The table that identifies a registry file and its format.
const FORMAT: TableDefinition<'_, &str, u32> = TableDefinition::new("dps-emulator");
const FORMAT_KEY: &str = "format";
const FORMAT_VERSION: u32 = 3;
/// The size of redb's page cache. The operating system also caches the file.
const CACHE: usize = 64 * 1024 * 1024;

const DAMAGED: &str =
    "is damaged: restore a copy of it, or move it away to start with an empty registry";
const FOREIGN: &str = "is not a registry of this program";

/// Makes the storage that a file is accessed through. Tests inject failures here.
pub(super) type Backend = fn(File, &Path) -> Result<Box<dyn StorageBackend>, DatabaseError>;

/// The backend of every store outside of tests.
pub(super) fn file_backend(
    file: File,
    _path: &Path,
) -> Result<Box<dyn StorageBackend>, DatabaseError> {
    Ok(Box::new(FileBackend::new(file)?))
}

/// Opens the file, or creates it if it does not exist.
pub(super) fn open_or_create(path: &Path, backend: Backend) -> Result<Database, StoreError> {
    let opened = match path.try_exists() {
        Ok(true) => open_existing(path, backend),
        Ok(false) => create(path).and_then(|()| open_existing(path, backend)),
        Err(error) => Err(error.into()),
    };
    opened.map_err(|error| error.at(path))
}

/// Opens the file, which must exist.
pub(super) fn open(path: &Path, backend: Backend) -> Result<Database, StoreError> {
    open_existing(path, backend).map_err(|error| error.at(path))
}

fn open_existing(path: &Path, backend: Backend) -> Result<Database, OpenError> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let metadata = file.metadata()?;
    // Reading a named pipe or a terminal would not end.
    if !metadata.is_file() {
        return Err(OpenError::new("is not a regular file"));
    }
    let mark = Mark::of(path, &metadata);
    // A complete registry file never looks like this, because it is renamed only when it is complete. redb would
    // treat an empty file as a new one.
    if begins_with_zeros(&mut file)? {
        return Err(OpenError::new(DAMAGED));
    }
    let held = HeldFile::new(backend(file, path)?);
    // Without the check, redb may panic on a file that was changed since redb last wrote it. The check reads the whole file.
    let database = Database::builder()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(matches!(mark, Mark::Different | Mark::Missing))
        .create_with_backend(held.clone())
        .map_err(|cause| match OpenError::from(cause) {
            // The mark shows that this was a registry file.
            OpenError(error) if error.message == FOREIGN && mark != Mark::Missing => {
                OpenError(StoreError {
                    message: DAMAGED.into(),
                    ..error
                })
            }
            error => error,
        })?;
    check_format(&database)?;
    mark::set_open(path)?;
    sync_directory(path)?;
    held.release()?;
    Ok(database)
}

/// Creates the file under a temporary name and renames it when it is complete, so that an interrupted creation leaves no
/// file under this name.
fn create(path: &Path) -> Result<(), OpenError> {
    let new = temporary(path);
    let created = create_new(&new).and_then(|()| Ok(publish(&new, path)?));
    if created.is_err() {
        let _best_effort = fs::remove_file(&new);
    }
    created
}

fn create_new(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let database =
        Database::builder().create_with_backend(FileBackend::new(options.open(path)?)?)?;
    write_format(&database)?;
    Ok(database.close()?)
}

/// Gives the file its name. If another process was faster, the other file stays.
fn publish(new: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(new, path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        // Not every file system has hard links.
        Err(_) if !path.try_exists()? => return fs::rename(new, path),
        Err(_) => {}
    }
    fs::remove_file(new)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    name.into()
}

/// Whether redb's magic number is missing because the file is empty or was overwritten with zeros.
fn begins_with_zeros(file: &mut File) -> io::Result<bool> {
    const MAGIC_LEN: u64 = 9;
    let mut start = Vec::new();
    file.take(MAGIC_LEN).read_to_end(&mut start)?;
    Ok(start.iter().all(|byte| *byte == 0))
}

fn check_format(database: &Database) -> Result<(), OpenError> {
    let reader = database.begin_read().map_err(::redb::Error::from)?;
    match reader.open_table(FORMAT) {
        Ok(format) => match format.get(FORMAT_KEY)?.map(|version| version.value()) {
            Some(FORMAT_VERSION) => Ok(()),
            Some(other) => Err(OpenError::new(format!(
                "has format {other}, and this release supports only format {FORMAT_VERSION}"
            ))),
            None => Err(OpenError::new(FOREIGN)),
        },
        Err(TableError::Storage(cause)) => Err(cause.into()),
        Err(_) => Err(OpenError::new(FOREIGN)),
    }
}

fn write_format(database: &Database) -> Result<(), ::redb::Error> {
    let transaction = database.begin_write()?;
    transaction
        .open_table(FORMAT)?
        .insert(FORMAT_KEY, FORMAT_VERSION)?;
    Ok(transaction.commit()?)
}

/// Makes new and renamed files of the directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if cfg!(unix) {
        File::open(directory)?.sync_all()
    } else {
        Ok(())
    }
}

/// Why a file was not opened. The message is the end of a sentence that starts with the file's name.
struct OpenError(StoreError);

impl OpenError {
    fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(StoreError::new(reason))
    }

    fn with_source(reason: &'static str, cause: impl Error + Send + Sync + 'static) -> Self {
        Self(StoreError::with_source(reason, cause))
    }

    fn at(self, path: &Path) -> StoreError {
        StoreError {
            message: format!("registry file {} {}", path.display(), self.0.message).into(),
            ..self.0
        }
    }
}

impl From<DatabaseError> for OpenError {
    fn from(cause: DatabaseError) -> Self {
        let reason = match &cause {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                "is already in use by another process"
            }
            DatabaseError::Storage(StorageError::Corrupted(_)) => DAMAGED,
            DatabaseError::Storage(StorageError::Io(io)) => match io.kind() {
                ErrorKind::InvalidData => FOREIGN,
                ErrorKind::UnexpectedEof => DAMAGED,
                _ => "could not be opened",
            },
            _ => "could not be opened",
        };
        Self::with_source(reason, cause)
    }
}

impl From<StorageError> for OpenError {
    fn from(cause: StorageError) -> Self {
        DatabaseError::Storage(cause).into()
    }
}

impl From<io::Error> for OpenError {
    fn from(cause: io::Error) -> Self {
        DatabaseError::from(cause).into()
    }
}

impl From<::redb::Error> for OpenError {
    fn from(cause: ::redb::Error) -> Self {
        Self::with_source("could not be read", cause)
    }
}
