//! Files that remember, that are taken, that are not ours, that are damaged.

use std::error::Error;
use std::path::Path;

use super::super::{Change, Expected, RedbStore, Store, StoreError, Table};
use super::{open, poll_once};

#[tokio::test]
async fn a_change_dropped_under_way_is_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("registry.redb")).await;
    for round in 0..20 {
        let key = round.to_string();
        let changes = [Table::Groups, Table::Hubs]
            .map(|table| Change::put(table, &key, Expected::Absent, vec![1]));
        let _left = poll_once(&mut store.apply(&changes)).await;
        let next = store.put(Table::Meta, "next", Expected::Anything, vec![]);
        assert!(next.await.unwrap());
        let groups = store.get(Table::Groups, &key).await.unwrap();
        assert_eq!(groups, store.get(Table::Hubs, &key).await.unwrap());
    }
}

#[tokio::test]
async fn a_file_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    for round in 0..3_u8 {
        let store = open(&path).await;
        let before = store.scan(Table::Groups, None, 9).await.unwrap();
        assert_eq!(
            before,
            (0..round)
                .map(|n| (n.to_string(), vec![n]))
                .collect::<Vec<_>>()
        );
        assert!(
            store
                .put(
                    Table::Groups,
                    &round.to_string(),
                    Expected::Absent,
                    vec![round]
                )
                .await
                .unwrap()
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_a_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let _store = open(&path).await;
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o077,
        0
    );
}

#[tokio::test]
async fn a_second_open_is_refused_and_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let store = open(&path).await;
    assert!(
        refusal(&path)
            .await
            .to_string()
            .ends_with("registry.redb is already in use by another process")
    );
    assert!(
        store
            .put(Table::Meta, "k", Expected::Absent, vec![1])
            .await
            .unwrap()
    );
    drop(store);
    assert_eq!(
        open(&path).await.get(Table::Meta, "k").await.unwrap(),
        Some(vec![1])
    );
}

#[tokio::test]
async fn files_of_others_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    for content in [
        &b"x"[..],
        b"# a text file, longer than a magic number\n",
        &[7; 100_000],
    ] {
        std::fs::write(&path, content).unwrap();
        assert!(
            refusal(&path)
                .await
                .to_string()
                .ends_with("is not a registry of this program")
        );
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }

    std::fs::remove_file(&path).unwrap();
    let theirs: ::redb::TableDefinition<'_, u64, u64> = ::redb::TableDefinition::new("theirs");
    let database = ::redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(theirs)
        .unwrap()
        .insert(1, 2)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let content = std::fs::read(&path).unwrap();
    assert!(
        refusal(&path)
            .await
            .to_string()
            .ends_with("is not a registry of this program")
    );
    assert!(std::fs::read(&path).unwrap() == content);
}

#[tokio::test]
async fn a_format_of_the_future_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    drop(open(&path).await);
    let format: ::redb::TableDefinition<'_, &str, u32> =
        ::redb::TableDefinition::new("dps-emulator");
    let database = ::redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    assert_eq!(
        transaction
            .open_table(format)
            .unwrap()
            .insert("format", 3)
            .unwrap()
            .unwrap()
            .value(),
        2
    );
    transaction.commit().unwrap();
    drop(database);
    let content = std::fs::read(&path).unwrap();
    assert!(
        refusal(&path)
            .await
            .to_string()
            .ends_with("has format 3, and this release knows format 2 only")
    );
    assert!(std::fs::read(&path).unwrap() == content);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let store = open(&path).await;
    for n in 0..200 {
        store
            .put(
                Table::Individuals,
                &format!("device-{n:03}"),
                Expected::Absent,
                vec![0xA5; 300],
            )
            .await
            .unwrap();
    }
    drop(store);
    let sound = std::fs::read(&path).unwrap();

    let value = sound
        .windows(300)
        .position(|bytes| bytes.iter().all(|byte| *byte == 0xA5))
        .unwrap();
    let mut flipped = Vec::new();
    // Some copies of a page are stale, so hit them all.
    for (at, byte) in sound.iter().enumerate() {
        flipped.push(if at >= value && *byte == 0xA5 {
            0x5A
        } else {
            *byte
        });
    }
    let mut no_roots = sound.clone();
    no_roots[64..512].fill(0xFF);
    for damaged in [
        flipped,
        no_roots,
        sound[..sound.len() / 2].to_vec(),
        sound[..4096].to_vec(),
        sound[..20].to_vec(),
    ] {
        std::fs::write(&path, &damaged).unwrap();
        let refusal = refusal(&path).await;
        assert!(
            refusal.to_string().ends_with("is damaged"),
            "{refusal}: {:?}",
            refusal.source()
        );
        assert!(refusal.source().is_some());
        assert!(std::fs::read(&path).unwrap() == damaged);
    }
    std::fs::write(&path, &sound).unwrap();
    assert_eq!(
        open(&path)
            .await
            .scan(Table::Individuals, None, 999)
            .await
            .unwrap()
            .len(),
        200
    );
}

/// So the time to open it does not depend on how much is in it. Damage that leaves no trace shows when it is read.
#[tokio::test]
async fn a_file_that_was_closed_and_left_alone_is_not_read_through() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let store = open(&path).await;
    let value = vec![0xA5; 3000];
    for key in ["a", "b"] {
        let put = store.put(Table::Groups, key, Expected::Absent, value.clone());
        assert!(put.await.unwrap());
    }
    drop(store);

    let closed = std::fs::metadata(&path).unwrap().modified().unwrap();
    let mut content = std::fs::read(&path).unwrap();
    content
        .iter_mut()
        .filter(|byte| **byte == 0xA5)
        .for_each(|byte| *byte = 0x5A);
    std::fs::write(&path, &content).unwrap();
    assert!(refusal(&path).await.to_string().ends_with("is damaged"));

    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(closed).unwrap();
    let store = open(&path).await;
    let groups = store.scan(Table::Groups, None, 9).await.unwrap();
    assert_eq!(groups.len(), 2);
}

/// As one that was not closed.
#[tokio::test]
async fn a_file_that_is_open_or_was_copied_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let mark = dir.path().join("registry.redb.closed");
    let store = open(&path).await;
    assert!(!mark.exists());
    drop(store);
    assert!(mark.exists());

    let copy = dir.path().join("copy.redb");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::write(dir.path().join("copy.redb.closed"), "nonsense").unwrap();
    let store = open(&copy).await;
    assert!(
        store
            .put(Table::Meta, "k", Expected::Absent, vec![1])
            .await
            .unwrap()
    );
    refusal(&copy).await;
    assert!(mark.exists(), "of another file");
}

#[tokio::test]
async fn an_interrupted_creation_is_started_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let mut unfinished = vec![0; 1 << 20];
    unfinished[9..320].fill(3);
    for content in [&unfinished[..], &unfinished[..4096], &[0; 5], b""] {
        std::fs::write(&path, content).unwrap();
        let store = open(&path).await;
        assert!(
            store
                .put(Table::Meta, "k", Expected::Absent, vec![1])
                .await
                .unwrap()
        );
        drop(store);
        assert_eq!(
            open(&path).await.get(Table::Meta, "k").await.unwrap(),
            Some(vec![1])
        );
    }
    unfinished[70_000] = 1;
    std::fs::write(&path, &unfinished).unwrap();
    assert!(
        refusal(&path)
            .await
            .to_string()
            .ends_with("is not a registry of this program")
    );
}

#[tokio::test]
async fn a_path_that_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = refusal(&dir.path().join("missing").join("registry.redb")).await;
    assert!(refused.to_string().ends_with("could not be opened"));
    assert!(refused.source().is_some());
    assert!(
        refusal(dir.path())
            .await
            .to_string()
            .ends_with("could not be opened")
    );
}

async fn refusal(path: &Path) -> StoreError {
    RedbStore::open(path).await.unwrap_err()
}
