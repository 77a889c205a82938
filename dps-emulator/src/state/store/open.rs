//! Opening a registry file, without touching one that is not ours to touch.

use std::borrow::Cow;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use ::redb::{
    Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition, TableError,
};

use super::held::HeldFile;
use super::{StoreError, closed};

/// Says whose file it is, and in which format.
const FORMAT: TableDefinition<'_, &str, u32> = TableDefinition::new("dps-emulator");
const FORMAT_KEY: &str = "format";
const FORMAT_VERSION: u32 = 2;
/// How much of the file redb keeps in memory. The system caches files too, and better.
const CACHE: usize = 64 * 1024 * 1024;

/// Opens or creates the file, which must not be another process's or another program's.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    try_open(path).map_err(|Refusal(StoreError { message, source })| StoreError {
        message: format!("registry file {} {message}", path.display()).into(),
        source,
    })
}

fn try_open(path: &Path) -> Result<Database, Refusal> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let is_as_closed = closed::is_marked(path, &file.metadata()?);

    let held = HeldFile::new(file)?;
    // Without the check, redb trusts a file that it closed in order, and may panic on one that was damaged since.
    let database = Database::builder()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(!is_as_closed)
        .create_with_backend(held.clone())?;
    check_format(&database)?;
    closed::clear(path)?;
    // The file's name, when it is new, and the end of its mark are durable only with their directory.
    sync_directory(path)?;
    held.release()?;
    Ok(database)
}

/// Makes a new file ours; refuses one that is not.
fn check_format(database: &Database) -> Result<(), Refusal> {
    let reader = database.begin_read().map_err(::redb::Error::from)?;
    match reader.open_table(FORMAT) {
        Ok(format) => match format.get(FORMAT_KEY)?.map(|version| version.value()) {
            Some(FORMAT_VERSION) => Ok(()),
            Some(other) => Err(Refusal::new(format!(
                "has format {other}, and this release knows format {FORMAT_VERSION} only"
            ))),
            None => Err(Refusal::new(FOREIGN)),
        },
        Err(TableError::TableDoesNotExist(_))
            if reader.list_tables()?.next().is_none()
                && reader.list_multimap_tables()?.next().is_none() =>
        {
            Ok(write_format(database)?)
        }
        Err(TableError::Storage(cause)) => Err(cause.into()),
        Err(_) => Err(Refusal::new(FOREIGN)),
    }
}

fn write_format(database: &Database) -> Result<(), ::redb::Error> {
    let transaction = database.begin_write()?;
    transaction
        .open_table(FORMAT)?
        .insert(FORMAT_KEY, FORMAT_VERSION)?;
    Ok(transaction.commit()?)
}

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

const FOREIGN: &str = "is not a registry of this program";

/// Why a file was not opened: the end of a sentence that starts with its name.
struct Refusal(StoreError);

impl Refusal {
    fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(StoreError::new(reason))
    }

    fn because(reason: &'static str, cause: impl Error + Send + Sync + 'static) -> Self {
        Self(StoreError::with_source(reason, cause))
    }
}

impl From<DatabaseError> for Refusal {
    fn from(cause: DatabaseError) -> Self {
        let reason = match &cause {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                "is already in use by another process"
            }
            DatabaseError::Storage(StorageError::Corrupted(_)) => "is damaged",
            DatabaseError::Storage(StorageError::Io(io)) => match io.kind() {
                ErrorKind::InvalidData => FOREIGN,
                ErrorKind::UnexpectedEof => "is damaged",
                _ => "could not be opened",
            },
            _ => "could not be opened",
        };
        Self::because(reason, cause)
    }
}

impl From<StorageError> for Refusal {
    fn from(cause: StorageError) -> Self {
        DatabaseError::Storage(cause).into()
    }
}

impl From<io::Error> for Refusal {
    fn from(cause: io::Error) -> Self {
        DatabaseError::from(cause).into()
    }
}

impl From<::redb::Error> for Refusal {
    fn from(cause: ::redb::Error) -> Self {
        Self::because("could not be read", cause)
    }
}
