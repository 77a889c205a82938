//! The store on disk: one redb file. Changes are committed in batches and acknowledged when they are on the disk.

mod batch;
mod file;
mod held;
mod mark;
mod open;

use std::fmt;
use std::mem;
use std::num::NonZero;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use ::redb::{ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, TableError};
use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::{Change, Store, StoreError, Table};
use batch::{OwnedChange, definition};
use file::DatabaseFile;

/// A store in one redb file. The file survives the process, however it ends.
///
/// A change is acknowledged after it is synced to the disk. Changes that arrive while a sync is in progress share the next
/// one. The file is locked while the store is open. On Unix only its owner can read it. It holds the symmetric keys of
/// enrollments in plain text.
///
/// After an I/O error, for example of a full disk, the store opens the file again at the next call. Writes succeed as soon
/// as the disk allows them.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use dps_emulator::Emulator;
///
/// let dps = Emulator::builder().data_dir("dps-emulator-data").start().await?; // has a `RedbStore` in this directory
/// # drop(dps);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RedbStore {
    shared: Arc<Shared>,
}

struct Shared {
    file: DatabaseFile,
    /// Changes that wait for the next transaction.
    pending: Mutex<Vec<Pending>>,
    /// The holder of the only permit commits all pending changes.
    writer: Arc<Semaphore>,
    /// Limits concurrent reads to the number of processors, because tokio starts a thread for each.
    readers: Arc<Semaphore>,
}

struct Pending {
    changes: Vec<OwnedChange>,
    done: oneshot::Sender<Result<bool, StoreError>>,
}

impl RedbStore {
    /// Opens the file, or creates it if it does not exist.
    ///
    /// A file that was closed in order, or that a crash left open, is opened in the same time for every size. Any other
    /// file is first checked as a whole, for example one that was copied or that another program has written to. The store
    /// keeps a small mark file with the suffix `.state` next to the file for this.
    ///
    /// # Errors
    ///
    /// If another process has the file open; if the file is damaged (an empty file too), belongs to another program, or
    /// has a format that this release does not support (the file is then left unchanged); if it cannot be read or written.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), open::file_backend).await
    }

    pub(super) async fn open_with(path: &Path, backend: open::Backend) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opened = spawn_blocking(move || DatabaseFile::open(path, backend));
        let file = opened.await.unwrap_or_else(|stopped| {
            Err(StoreError::with_source(
                "opening the registry file stopped unexpectedly",
                stopped,
            ))
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                file,
                pending: Mutex::default(),
                writer: Arc::new(Semaphore::new(1)),
                readers: Arc::new(Semaphore::new(processors())),
            }),
        })
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_owned();
        self.read(table, move |records| {
            Ok(records
                .get(key.as_str())?
                .map(|value| value.value().to_vec()))
        })
        .await
        .map(Option::flatten)
    }

    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError> {
        let (done, mut outcome) = oneshot::channel();
        let changes = changes.iter().map(OwnedChange::from).collect();
        self.shared.pending().push(Pending { changes, done });

        let permit = tokio::select! {
            biased;
            outcome = &mut outcome => return outcome.unwrap_or_else(|_| Err(unfinished())),
            permit = Arc::clone(&self.shared.writer).acquire_owned() => permit,
        };
        let shared = Arc::clone(&self.shared);
        // The task keeps the permit: if this future is dropped, the next writer still waits for the transaction to end.
        let work = spawn_blocking(move || {
            shared.commit_pending();
            drop(permit);
        });
        work.await.map_err(|stopped| {
            StoreError::with_source("writing the registry file stopped unexpectedly", stopped)
        })?;
        outcome.await.unwrap_or_else(|_| Err(unfinished()))
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let after = after.map(str::to_owned);
        let page = self.read(table, move |records| {
            let start = match &after {
                Some(after) => Bound::Excluded(after.as_str()),
                None => Bound::Unbounded,
            };
            let mut page = Vec::new();
            for entry in records
                .range::<&str>((start, Bound::Unbounded))?
                .take(limit)
            {
                let (key, value) = entry?;
                page.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(page)
        });
        page.await.map(Option::unwrap_or_default)
    }

    async fn count(&self, table: Table) -> Result<u64, StoreError> {
        let count = self.read(table, |records| Ok(records.len()?));
        count.await.map(Option::unwrap_or_default)
    }
}

type Records = ReadOnlyTable<&'static str, &'static [u8]>;

impl RedbStore {
    /// Reads from a table; `None` if nothing was ever written to it.
    async fn read<T: Send + 'static>(
        &self,
        table: Table,
        read: impl Fn(&Records) -> Result<T, ::redb::Error> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let permit = Arc::clone(&shared.readers).acquire_owned().await;
        let read = spawn_blocking(move || {
            let _permit = permit;
            shared.file.read(|database| {
                let transaction = database.begin_read()?;
                match transaction.open_table(definition(table)) {
                    Ok(records) => read(&records).map(Some),
                    Err(TableError::TableDoesNotExist(_)) => Ok(None),
                    Err(error) => Err(error.into()),
                }
            })
        });
        read.await.unwrap_or_else(|stopped| {
            Err(StoreError::with_source(
                "reading the registry file stopped unexpectedly",
                stopped,
            ))
        })
    }
}

impl Shared {
    /// No code panics while it holds this lock, so a poisoned lock still guards valid data.
    fn pending(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits all pending changes in one transaction and reports the result to each caller.
    fn commit_pending(&self) {
        let mut batch = mem::take(&mut *self.pending());
        // The change of a caller that has been dropped must not be made later.
        batch.retain(|pending| !pending.done.is_closed());
        let changes = || batch.iter().map(|pending| &*pending.changes);
        match self
            .file
            .write(|database| batch::commit(database, changes()))
        {
            Ok(Ok(outcomes)) => {
                for (pending, outcome) in batch.into_iter().zip(outcomes) {
                    let _gone = pending.done.send(Ok(outcome));
                }
            }
            Ok(Err(cause)) => fail(batch, "cannot write the registry file", cause),
            Err(cause) => fail(batch, "cannot open the registry file again", cause),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Reports the same cause to every caller.
fn fail(
    batch: Vec<Pending>,
    message: &'static str,
    cause: impl std::error::Error + Send + Sync + 'static,
) {
    let cause = Arc::new(cause);
    for pending in batch {
        let error = StoreError::with_source(message, Arc::clone(&cause));
        let _gone = pending.done.send(Err(error));
    }
}

fn processors() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

fn unfinished() -> StoreError {
    StoreError::new("writing the registry file stopped before it finished")
}

#[cfg(test)]
mod tests {
    use super::super::Expected;
    use super::super::tests::poll_once;
    use super::*;

    #[tokio::test]
    async fn a_change_dropped_before_its_turn_is_never_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(dir.path().join("registry.redb"))
            .await
            .unwrap();
        let put = |key| store.put(Table::Meta, key, Expected::Anything, vec![]);

        let turn = store.shared.writer.acquire().await.unwrap();
        assert!(poll_once(&mut put("left")).await.is_none());
        let waits = put("waits");
        drop(turn);
        assert!(waits.await.unwrap());
        assert_eq!(store.get(Table::Meta, "left").await.unwrap(), None);
        assert_eq!(store.get(Table::Meta, "waits").await.unwrap(), Some(vec![]));
    }

    #[tokio::test]
    async fn changes_that_wait_together_are_judged_one_after_another() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(dir.path().join("registry.redb"))
            .await
            .unwrap();
        let turn = store.shared.writer.acquire().await.unwrap();
        let mut puts = [b"1", b"2", b"3"]
            .map(|value| store.put(Table::Meta, "k", Expected::Absent, value.to_vec()));
        for put in &mut puts {
            assert!(poll_once(put).await.is_none());
        }
        drop(turn);
        let mut won = Vec::new();
        for put in puts {
            won.push(put.await.unwrap());
        }
        assert_eq!(won, [true, false, false]);
        assert_eq!(
            store.get(Table::Meta, "k").await.unwrap(),
            Some(b"1".to_vec())
        );
    }
}
