//! A process that is killed while it writes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::super::{Change, Expected, Store, Table};
use super::open;

/// The name of the file for the child of [`a_killed_process_loses_no_acknowledged_change`].
const CHILD_FILE: &str = "DPS_EMULATOR_TEST_STORE";

#[test]
fn a_killed_process_loses_no_acknowledged_change() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    if let Some(path) = std::env::var_os(CHILD_FILE) {
        runtime.block_on(write_for_ever(Path::new(&path)));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let test = format!(
        "{}::a_killed_process_loses_no_acknowledged_change",
        module_path!().split_once("::").unwrap().1
    );
    let mut acknowledged = 0;
    for enough in [1, 25, 80, 150] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture", "--test-threads=1"])
            .env(CHILD_FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut keys = Vec::new();
        for line in lines {
            keys.extend(line.unwrap().strip_prefix("safe ").map(str::to_owned));
            if keys.len() == enough {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(keys.len() >= enough, "the child wrote until it was killed");
        acknowledged += keys.len();

        runtime.block_on(async {
            let store = open(&path).await;
            for key in keys {
                let value = store.get(Table::Individuals, &key).await.unwrap();
                assert_eq!(
                    value.as_deref(),
                    Some(key.repeat(50).as_bytes()),
                    "acknowledged"
                );
            }
            let individuals = store
                .scan(Table::Individuals, None, usize::MAX)
                .await
                .unwrap();
            assert!(individuals.len() >= acknowledged);
            assert!(
                individuals
                    == store
                        .scan(Table::Registrations, None, usize::MAX)
                        .await
                        .unwrap(),
                "no half batch"
            );
        });
    }
}

/// Eight writers, each change two records, each acknowledgement a line.
async fn write_for_ever(path: &Path) {
    let store = Arc::new(open(path).await);
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0_u64.. {
                let key = format!("{}-{writer}-{n}", std::process::id());
                let put =
                    |table| Change::put(table, &key, Expected::Absent, key.repeat(50).into_bytes());
                let changes = [put(Table::Individuals), put(Table::Registrations)];
                assert!(store.apply(&changes).await.unwrap());
                // One write: the parent may read it the moment before it kills us.
                std::io::stdout()
                    .write_all(format!("\nsafe {key}\n").as_bytes())
                    .unwrap();
            }
        });
    }
    writers.join_all().await;
}
