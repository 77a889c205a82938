//! The store that remembers: one redb file, written in batches that are on the disk before they are acknowledged.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::mem;
use std::num::NonZero;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use ::redb::{
    AccessGuard, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, TableError, WriteTransaction,
};
use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::{Action, Change, Expected, Store, StoreError, Table, closed, open};

/// Keeps the registry in one redb file, which survives the process, however it ends.
///
/// A change is acknowledged after it is synced to the disk. Changes that arrive while another sync runs share the next
/// one. The file is locked for as long as the store lives, is readable only by its owner where the system knows file
/// modes, and holds the enrollments' keys in the clear.
///
/// After an I/O error such as a full disk, redb refuses all writes until the file is opened again.
pub struct RedbStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// `None` once it is being closed.
    database: Option<Database>,
    /// Changes that wait for the next transaction.
    pending: Mutex<Vec<Pending>>,
    /// Whoever holds the one permit commits for all who wait.
    turn: Arc<Semaphore>,
    /// As many read at once as there are processors: more would only make tokio start, and keep busy, a thread for each.
    readers: Arc<Semaphore>,
}

struct Pending {
    changes: Vec<OwnedChange>,
    done: oneshot::Sender<Result<bool, StoreError>>,
}

impl RedbStore {
    /// Opens the file, or creates it when it is missing or empty.
    ///
    /// A file that was closed in order is opened in the same time whatever its size. Any other is checked first, all of it:
    /// after a crash, and when something else has written to it or copied it.
    ///
    /// # Errors
    ///
    /// When another process has the file open; when it is damaged, belongs to another program, or has a format this
    /// release does not know (it is then left as it was); when it cannot be read or written.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let opened = spawn_blocking(move || {
            let database = open::open(&path)?;
            Ok(Shared {
                path,
                database: Some(database),
                pending: Mutex::default(),
                turn: Arc::new(Semaphore::new(1)),
                readers: Arc::new(Semaphore::new(processors())),
            })
        });
        let shared = opened.await.unwrap_or_else(|stopped| {
            Err(StoreError::with_source(
                "the opening of the registry file stopped",
                stopped,
            ))
        })?;
        Ok(Self {
            shared: Arc::new(shared),
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

        let turn = tokio::select! {
            biased;
            outcome = &mut outcome => return outcome.unwrap_or_else(|_| Err(unfinished())),
            turn = Arc::clone(&self.shared.turn).acquire_owned() => turn,
        };
        let shared = Arc::clone(&self.shared);
        // The permit goes along: if this future is dropped, the next in turn still waits for the transaction to end.
        let work = spawn_blocking(move || {
            shared.commit_pending();
            drop(turn);
        });
        work.await.map_err(|stopped| {
            StoreError::with_source("the registry file's writer stopped", stopped)
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

impl RedbStore {
    /// Reads from a table; `None` when nothing was ever written to it.
    async fn read<T: Send + 'static>(
        &self,
        table: Table,
        read: impl FnOnce(&Records) -> Result<T, ::redb::Error> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let turn = Arc::clone(&shared.readers).acquire_owned().await;
        let read = spawn_blocking(move || {
            let _turn = turn;
            let transaction = shared.database().begin_read()?;
            match transaction.open_table(definition(table)) {
                Ok(records) => read(&records).map(Some),
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        });
        match read.await {
            Ok(read) => read.map_err(|cause: ::redb::Error| {
                StoreError::with_source("cannot read the registry file", cause)
            }),
            Err(stopped) => Err(StoreError::with_source(
                "the registry file's reader stopped",
                stopped,
            )),
        }
    }
}

impl Shared {
    fn database(&self) -> &Database {
        self.database.as_ref().expect("open until it is dropped")
    }

    /// No panic can happen while the list is locked, so poison means nothing.
    fn pending(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits everything that waits in one transaction, and tells each caller how it went.
    fn commit_pending(&self) {
        let mut batch = mem::take(&mut *self.pending());
        // A caller that went away must not see its change happen at some later time.
        batch.retain(|pending| !pending.done.is_closed());
        match self.commit(&batch) {
            Ok(outcomes) => {
                for (pending, outcome) in batch.into_iter().zip(outcomes) {
                    let _gone = pending.done.send(Ok(outcome));
                }
            }
            Err(cause) => {
                let cause = Arc::new(cause);
                for pending in batch {
                    let error = StoreError::with_source(
                        "cannot write the registry file",
                        Arc::clone(&cause),
                    );
                    let _gone = pending.done.send(Err(error));
                }
            }
        }
    }

    fn commit(&self, batch: &[Pending]) -> Result<Vec<bool>, ::redb::Error> {
        // redb's default durability: commit returns after the sync.
        let transaction = self.database().begin_write()?;
        let mut outcomes = Vec::with_capacity(batch.len());
        {
            let mut tables = Tables::new(&transaction);
            for pending in batch {
                outcomes.push(tables.apply(&pending.changes)?);
            }
        }
        if outcomes.contains(&true) {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(outcomes)
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(Ok(())) = self.database.take().map(Database::close) {
            closed::set(&self.path);
        }
    }
}

type Records = ReadOnlyTable<&'static str, &'static [u8]>;
type OpenTable<'t> = ::redb::Table<'t, &'static str, &'static [u8]>;

fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
}

/// The tables that one transaction writes to, opened as they are needed.
struct Tables<'t> {
    transaction: &'t WriteTransaction,
    open: HashMap<Table, OpenTable<'t>>,
}

impl<'t> Tables<'t> {
    fn new(transaction: &'t WriteTransaction) -> Self {
        Self {
            transaction,
            open: HashMap::new(),
        }
    }

    fn apply(&mut self, changes: &[OwnedChange]) -> Result<bool, ::redb::Error> {
        for change in changes {
            let current = self.table(change.table)?.get(change.key.as_str())?;
            let current = current.as_ref().map(AccessGuard::value);
            if !change.expected().holds(current) {
                return Ok(false);
            }
        }
        for change in changes {
            let (records, key) = (self.table(change.table)?, change.key.as_str());
            match &change.action {
                Action::Put(value) => drop(records.insert(key, value.as_slice())?),
                Action::Delete => drop(records.remove(key)?),
                Action::Keep => {}
            }
        }
        Ok(true)
    }

    fn table(&mut self, table: Table) -> Result<&mut OpenTable<'t>, TableError> {
        Ok(match self.open.entry(table) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(closed) => closed.insert(self.transaction.open_table(definition(table))?),
        })
    }
}

/// A [`Change`] that can go to another thread.
struct OwnedChange {
    table: Table,
    key: String,
    /// `None` stands for anything, `Some(None)` for absent.
    expected: Option<Option<Vec<u8>>>,
    action: Action,
}

impl OwnedChange {
    fn expected(&self) -> Expected<'_> {
        match &self.expected {
            None => Expected::Anything,
            Some(None) => Expected::Absent,
            Some(Some(value)) => Expected::Exactly(value),
        }
    }
}

impl From<&Change<'_>> for OwnedChange {
    fn from(change: &Change<'_>) -> Self {
        let expected = match change.expected {
            Expected::Anything => None,
            Expected::Absent => Some(None),
            Expected::Exactly(value) => Some(Some(value.to_vec())),
        };
        Self {
            table: change.table,
            key: change.key.to_owned(),
            expected,
            action: change.action.clone(),
        }
    }
}

fn processors() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

fn unfinished() -> StoreError {
    StoreError::new("the registry file's writer stopped before it answered")
}

#[cfg(test)]
mod tests {
    use super::super::tests::poll_once;
    use super::*;

    #[tokio::test]
    async fn a_change_dropped_before_its_turn_is_never_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(dir.path().join("registry.redb"))
            .await
            .unwrap();
        let put = |key| store.put(Table::Meta, key, Expected::Anything, vec![]);

        let turn = store.shared.turn.acquire().await.unwrap();
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
        let turn = store.shared.turn.acquire().await.unwrap();
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
