//! Registry files: what survives a restart, and which files are refused.

use std::error::Error;
use std::path::Path;

use super::super::{Change, Expected, RedbStore, Store, StoreError, Table};
use super::{open, poll_once};

#[tokio::test]
async fn a_dropped_change_is_made_completely_or_not_at_all() {
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
async fn a_file_keeps_its_records() {
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
async fn only_the_owner_can_read_a_file() {
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
async fn a_second_open_is_refused_and_changes_nothing() {
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
async fn files_of_other_programs_are_refused_and_not_changed() {
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
async fn an_unknown_format_is_refused_and_the_file_not_changed() {
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
            .insert("format", 4)
            .unwrap()
            .unwrap()
            .value(),
        3
    );
    transaction.commit().unwrap();
    drop(database);
    let content = std::fs::read(&path).unwrap();
    assert!(
        refusal(&path)
            .await
            .to_string()
            .ends_with("has format 4, and this release supports only format 3")
    );
    assert!(std::fs::read(&path).unwrap() == content);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_not_changed() {
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
            refusal.to_string().contains("registry.redb is damaged: "),
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

/// A full check would find the change. Opening the file therefore takes the same time for every size.
#[tokio::test]
async fn a_file_that_was_closed_in_order_is_opened_without_a_full_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    drop(store_with_groups(&path).await);
    let closed = std::fs::metadata(&path).unwrap().modified().unwrap();

    change_values(&path);
    let refused = refusal(&path).await.to_string();
    assert!(refused.contains("registry.redb is damaged: "), "{refused}");

    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(closed).unwrap();
    let store = open(&path).await;
    let groups = store.scan(Table::Groups, None, 9).await.unwrap();
    assert_eq!(groups.len(), 2);
}

/// The copies of an open file and its mark are what a crash leaves.
#[tokio::test]
async fn a_file_that_a_crash_left_open_is_opened_without_a_full_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let store = store_with_groups(&path).await;
    let crashed = dir.path().join("crashed.redb");
    std::fs::copy(&path, &crashed).unwrap();
    std::fs::copy(mark_of(&path), mark_of(&crashed)).unwrap();
    drop(store);

    change_values(&crashed);
    let store = open(&crashed).await;
    let groups = store.scan(Table::Groups, None, 9).await.unwrap();
    assert_eq!(groups.len(), 2);
    let put = store.put(Table::Groups, "c", Expected::Absent, vec![1]);
    assert!(put.await.unwrap());
    assert_eq!(store.count(Table::Groups).await.unwrap(), 3);
}

#[tokio::test]
async fn a_copy_without_its_mark_or_with_a_wrong_one_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    drop(store_with_groups(&path).await);
    let copy = dir.path().join("copy.redb");
    for mark in [None, Some("nonsense"), Some("")] {
        std::fs::copy(&path, &copy).unwrap();
        let _absent = std::fs::remove_file(mark_of(&copy));
        if let Some(mark) = mark {
            std::fs::write(mark_of(&copy), mark).unwrap();
        }
        drop(open(&copy).await);

        std::fs::copy(&path, &copy).unwrap();
        let _absent = std::fs::remove_file(mark_of(&copy));
        if let Some(mark) = mark {
            std::fs::write(mark_of(&copy), mark).unwrap();
        }
        change_values(&copy);
        let refused = refusal(&copy).await.to_string();
        assert!(refused.contains("copy.redb is damaged: "), "{refused}");
    }
}

#[tokio::test]
async fn an_emptied_or_zeroed_file_is_damaged_and_not_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    drop(store_with_groups(&path).await);
    let len = std::fs::metadata(&path).unwrap().len() as usize;
    let mut zero_header = std::fs::read(&path).unwrap();
    zero_header[..4096].fill(0);
    for marked in [true, false] {
        for damaged in [&[][..], &[0], &[0; 5], &vec![0; len], &zero_header] {
            std::fs::write(&path, damaged).unwrap();
            let refused = refusal(&path).await.to_string();
            assert!(refused.contains("registry.redb is damaged: "), "{refused}");
            assert!(std::fs::read(&path).unwrap() == damaged);
        }
        if marked {
            std::fs::write(&path, [7; 5000]).unwrap();
            let refused = refusal(&path).await.to_string();
            assert!(refused.contains("registry.redb is damaged: "), "{refused}");
            std::fs::remove_file(mark_of(&path)).unwrap();
        }
    }
}

#[tokio::test]
async fn an_interrupted_creation_leaves_no_registry_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    std::fs::write(dir.path().join("registry.redb.1.new"), [0; 5000]).unwrap();
    let put = async |key| {
        let store = open(&path).await;
        store.put(Table::Meta, key, Expected::Absent, vec![1]).await
    };
    assert!(put("a").await.unwrap() && put("b").await.unwrap());
    assert_eq!(open(&path).await.count(Table::Meta).await.unwrap(), 2);
    let names = std::fs::read_dir(dir.path()).unwrap();
    assert_eq!(
        names.count(),
        3,
        "the file, its mark and the unfinished one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_a_file_at_once_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let openers: Vec<_> = (0..8)
        .map(|_| tokio::spawn(RedbStore::open(path.clone())))
        .collect();
    let mut opened = Vec::new();
    for opener in openers {
        match opener.await.unwrap() {
            Ok(store) => opened.push(store),
            Err(refused) => assert!(refused.to_string().ends_with("in use by another process")),
        }
    }
    assert_eq!(opened.len(), 1);
}

async fn store_with_groups(path: &Path) -> RedbStore {
    let store = open(path).await;
    for key in ["a", "b"] {
        let put = store.put(Table::Groups, key, Expected::Absent, vec![0xA5; 3000]);
        assert!(put.await.unwrap());
    }
    store
}

/// Changes every stored value, in every copy of its page.
fn change_values(path: &Path) {
    let mut content = std::fs::read(path).unwrap();
    let values = content
        .chunks_mut(100)
        .filter(|bytes| bytes.iter().all(|byte| *byte == 0xA5));
    values.for_each(|bytes| bytes.fill(0x5A));
    std::fs::write(path, &content).unwrap();
}

fn mark_of(path: &Path) -> std::path::PathBuf {
    path.with_extension("redb.state")
}

#[tokio::test]
async fn a_path_that_cannot_be_opened_is_refused() {
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

/// Reading a named pipe or a device does not end.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_is_not_regular_is_refused_and_a_mark_that_is_not_regular_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let pipe = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    pipe(&path);
    let refused = refusal(&path).await.to_string();
    assert!(refused.ends_with("is not a regular file"), "{refused}");
    std::fs::remove_file(&path).unwrap();

    drop(store_with_groups(&path).await);
    for target in [None, Some("/dev/zero"), Some("missing")] {
        std::fs::remove_file(mark_of(&path)).unwrap();
        match target {
            None => pipe(&mark_of(&path)),
            Some(target) => std::os::unix::fs::symlink(target, mark_of(&path)).unwrap(),
        }
        assert_eq!(open(&path).await.count(Table::Groups).await.unwrap(), 2);
        assert!(std::fs::symlink_metadata(mark_of(&path)).unwrap().is_file());
    }
    std::fs::remove_file(mark_of(&path)).unwrap();
    std::fs::create_dir(mark_of(&path)).unwrap();
    let refused = refusal(&path).await;
    let cause = refused.source().unwrap().to_string();
    assert!(cause.contains("registry.redb.state"), "{cause}");
}

async fn refusal(path: &Path) -> StoreError {
    RedbStore::open(path).await.unwrap_err()
}
