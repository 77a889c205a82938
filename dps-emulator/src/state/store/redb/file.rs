//! The open database file. After an error the file is closed and opened again, because redb refuses every write after an
//! I/O error, such as that of a full disk.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use ::redb::Database;

use super::super::StoreError;
use super::mark;
use super::open::{self, Backend};

pub(super) struct DatabaseFile {
    path: PathBuf,
    backend: Backend,
    /// `None` if the file could not be opened again after an error.
    database: RwLock<Option<Database>>,
    /// Set by an error or a panic in redb: the database must be opened again before its next use.
    has_failed: AtomicBool,
}

impl DatabaseFile {
    pub(super) fn open(path: PathBuf, backend: Backend) -> Result<Self, StoreError> {
        let database = open::open_or_create(&path, backend)?;
        Ok(Self {
            path,
            backend,
            database: RwLock::new(Some(database)),
            has_failed: AtomicBool::new(false),
        })
    }

    /// Reads. A read that fails is repeated once on the file as it is after it was opened again, because an error of another
    /// call fails all reads at the same time.
    pub(super) fn read<T>(
        &self,
        read: impl Fn(&Database) -> Result<T, ::redb::Error>,
    ) -> Result<T, StoreError> {
        let failed = |cause| StoreError::with_source("cannot read the registry file", cause);
        match self.run(&read)? {
            Ok(value) => Ok(value),
            Err(_) => self.run(&read)?.map_err(failed),
        }
    }

    /// Writes. After an error it is unknown whether the changes were made.
    pub(super) fn write<T>(
        &self,
        write: impl Fn(&Database) -> Result<T, ::redb::Error>,
    ) -> Result<Result<T, ::redb::Error>, StoreError> {
        self.run(&write)
    }

    fn run<T>(
        &self,
        work: &impl Fn(&Database) -> Result<T, ::redb::Error>,
    ) -> Result<Result<T, ::redb::Error>, StoreError> {
        let opened = self.opened()?;
        let Some(database) = opened.as_ref() else {
            return Err(StoreError::new("the registry file is closed"));
        };
        let failure = FailureFlag(Some(&self.has_failed));
        let done = work(database);
        if done.is_ok() {
            failure.disarm();
        }
        Ok(done)
    }

    /// The database, opened again if an earlier call failed.
    fn opened(&self) -> Result<RwLockReadGuard<'_, Option<Database>>, StoreError> {
        if self.needs_reopening(&self.guard()) {
            self.reopen()?;
        }
        Ok(self.guard())
    }

    fn guard(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn needs_reopening(&self, database: &Option<Database>) -> bool {
        database.is_none() || self.has_failed.load(Ordering::SeqCst)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if !self.needs_reopening(&database) {
            return Ok(()); // by another call, while this one waited for the lock
        }
        // The lock on the file must be released first. redb leaves the file to the recovery of the next open.
        drop(database.take());
        *database = Some(open::open(&self.path, self.backend)?);
        self.has_failed.store(false, Ordering::SeqCst);
        tracing::info!(path = %self.path.display(), "opened the registry file again after an error");
        Ok(())
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let database = self
            .database
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(())) = database.take().map(Database::close) {
            mark::set_closed(&self.path);
        }
    }
}

impl fmt::Debug for DatabaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.path, f)
    }
}

/// Sets the flag when it is dropped, also by a panic, unless it was disarmed.
struct FailureFlag<'a>(Option<&'a AtomicBool>);

impl FailureFlag<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for FailureFlag<'_> {
    fn drop(&mut self) {
        if let Some(flag) = self.0 {
            flag.store(true, Ordering::SeqCst);
        }
    }
}
