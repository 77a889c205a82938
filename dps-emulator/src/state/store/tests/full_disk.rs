//! A disk that becomes full and has space again, and a disk that fails: the store works again without a restart.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ::redb::backends::FileBackend;
use ::redb::{BackendError, DatabaseError, StorageBackend};

use super::super::{Change, Expected, RedbStore, Store, Table};

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Failure {
    /// Files cannot grow.
    Full,
    /// Nothing can be written.
    ReadOnly,
    /// Nothing can be read or written.
    Broken,
}

/// The disks that fail, by the path of their file. Each test has its own path.
static FAILURES: Mutex<Vec<(PathBuf, Failure)>> = Mutex::new(Vec::new());

fn set_failure(path: &Path, failure: Option<Failure>) {
    let mut failures = FAILURES.lock().unwrap();
    failures.retain(|(failing, _)| failing != path);
    failures.extend(failure.map(|failure| (path.to_owned(), failure)));
}

#[derive(Debug)]
struct Disk {
    file: FileBackend,
    path: PathBuf,
}

impl Disk {
    fn open(file: File, path: &Path) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        Ok(Box::new(Self {
            file: FileBackend::new(file)?,
            path: path.to_owned(),
        }))
    }

    fn check(&self, fails: impl Fn(Failure) -> bool) -> io::Result<()> {
        let failures = FAILURES.lock().unwrap();
        let failure = failures.iter().find(|(path, _)| *path == self.path);
        match failure {
            Some((_, failure)) if fails(*failure) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check(|failure| failure == Failure::Broken)?;
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let grows = len > self.file.len()?;
        self.check(|failure| grows || failure != Failure::Full)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check(|failure| failure != Failure::Full)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(|failure| failure != Failure::Full)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

const LARGE: usize = 1 << 20;

/// Writes large values until the disk is full. Returns the number of values that were written.
async fn fill(store: &RedbStore, value: impl Fn(usize) -> Vec<u8>) -> usize {
    for number in 0..200 {
        let key = number.to_string();
        let put = store.put(Table::Groups, &key, Expected::Absent, value(number));
        if put.await.is_err() {
            return number;
        }
    }
    panic!("the disk never became full");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_succeed_again_when_a_full_disk_has_space() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.redb");
    let store = RedbStore::open_with(&path, Disk::open).await.unwrap();
    let value = |number: usize| vec![number as u8; LARGE];
    set_failure(&path, Some(Failure::Full));
    let written = fill(&store, value).await;
    for _ in 0..3 {
        let changes = [Table::Groups, Table::Hubs]
            .map(|table| Change::put(table, "new", Expected::Absent, value(0)));
        store.apply(&changes).await.unwrap_err();
        for number in 0..written {
            let stored = store.get(Table::Groups, &number.to_string()).await.unwrap();
            assert!(
                stored == Some(value(number)),
                "readable while the disk is full"
            );
        }
    }

    set_failure(&path, None);
    assert!(
        store
            .put(Table::Groups, "new", Expected::Absent, value(0))
            .await
            .unwrap()
    );
    assert_eq!(
        store.count(Table::Groups).await.unwrap(),
        written as u64 + 1
    );
    assert_eq!(store.count(Table::Hubs).await.unwrap(), 0);
    drop(store);
    let store = RedbStore::open(&path).await.unwrap();
    assert_eq!(
        store.count(Table::Groups).await.unwrap(),
        written as u64 + 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_works_again_after_a_disk_failed() {
    let dir = tempfile::tempdir().unwrap();
    for failure in [Failure::ReadOnly, Failure::Broken] {
        let path = dir.path().join(format!("{failure:?}.redb"));
        let store = RedbStore::open_with(&path, Disk::open).await.unwrap();
        let put = |key| store.put(Table::Groups, key, Expected::Absent, vec![1]);
        assert!(put("before").await.unwrap());
        set_failure(&path, Some(failure));
        for _ in 0..3 {
            put("meanwhile").await.unwrap_err();
            if failure == Failure::Broken {
                store.get(Table::Groups, "before").await.unwrap_err();
            }
        }
        set_failure(&path, None);
        assert_eq!(
            store.get(Table::Groups, "before").await.unwrap(),
            Some(vec![1])
        );
        assert!(put("after").await.unwrap());
        assert!(
            store
                .get(Table::Groups, "meanwhile")
                .await
                .unwrap()
                .is_none_or(|it| it == [1])
        );
    }
}

/// The file is not created again: the records in it may be needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_disappeared_is_not_replaced_by_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gone.redb");
    let store = RedbStore::open_with(&path, Disk::open).await.unwrap();
    set_failure(&path, Some(Failure::ReadOnly));
    let put = || store.put(Table::Groups, "a", Expected::Absent, vec![1]);
    put().await.unwrap_err();
    set_failure(&path, None);
    let moved = dir.path().join("moved.redb");
    std::fs::rename(&path, &moved).unwrap();
    put().await.unwrap_err();
    assert!(!path.exists());
    std::fs::rename(&moved, &path).unwrap();
    assert!(put().await.unwrap());
}
