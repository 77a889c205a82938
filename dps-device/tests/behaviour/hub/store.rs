//! `AssignmentFile`: it is replaced atomically, and a damaged file is ignored.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::task::{Context, Waker};

use dps_device::{AssignmentFile, AssignmentStore, CachedAssignment};

const TEST: &str = "hub::store::a_program_that_is_killed_leaves_a_complete_file";
const CHILD: &str = "DPS_DEVICE_TEST_SAVES_HERE";

fn assignment(hub: &str) -> CachedAssignment {
    let json = format!(
        r#"{{"version":1,"idScope":"0ne00111111","registrationId":"my-device","assignedHub":"{hub}","deviceId":"my-device"}}"#
    );
    CachedAssignment::from_json(json.as_bytes()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn an_assignment_can_be_saved_loaded_and_cleared() {
    let directory = tempfile::tempdir().unwrap();
    let store = AssignmentFile::new(directory.path().join("assignment.json"));
    assert_eq!(store.load().await.unwrap(), None);
    store.clear().await.unwrap();
    for hub in ["a", "a-much-longer-name.azure-devices.net", "b"] {
        let assignment = assignment(hub);
        store.save(&assignment).await.unwrap();
        assert_eq!(store.load().await.unwrap(), Some(assignment));
        assert_eq!(names(directory.path()), ["assignment.json"]);
    }
    store.clear().await.unwrap();
    assert_eq!(store.load().await.unwrap(), None);
    assert_eq!(names(directory.path()), [""; 0]);
}

/// Dropping a future does not stop the write that has begun, so later operations must wait for it.
#[tokio::test]
async fn a_save_whose_future_was_dropped_finishes_before_the_next_operation() {
    let directory = tempfile::tempdir().unwrap();
    let store = AssignmentFile::new(directory.path().join("assignment.json"));
    for _ in 0..50 {
        let (one, clone) = (assignment("a"), store.clone());
        {
            let mut save = std::pin::pin!(store.save(&one));
            let mut context = Context::from_waker(Waker::noop());
            assert!(save.as_mut().poll(&mut context).is_pending());
        }
        clone.clear().await.unwrap();
        assert_eq!(store.load().await.unwrap(), None);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_private_and_links_are_not_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("assignment.json");
    let other = directory.path().join("other");
    std::fs::write(&other, "precious").unwrap();
    symlink(&other, directory.path().join("assignment.json.new")).unwrap();
    let store = AssignmentFile::new(&path);
    store.save(&assignment("a")).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read(&other).unwrap(), b"precious");
}

#[tokio::test]
async fn a_damaged_file_is_ignored_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("assignment.json");
    let store = AssignmentFile::new(&path);
    let json = assignment("a").to_json().unwrap();
    let mut files: Vec<_> = (0..json.len()).map(|end| json[..end].to_vec()).collect();
    files.extend((0..json.len()).map(|at| {
        let mut changed = json.clone();
        changed[at] ^= 1;
        changed
    }));
    files.push(vec![0; json.len()]);
    files.push(vec![0xff; 100_000]);
    for file in files {
        std::fs::write(&path, &file).unwrap();
        assert_eq!(store.load().await.unwrap(), None, "{file:?}");
    }
    store.save(&assignment("b")).await.unwrap();
    assert_eq!(store.load().await.unwrap(), Some(assignment("b")));
}

/// Reading a named pipe waits for another program.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_is_not_regular_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("assignment.json");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let error = AssignmentFile::new(&path).load().await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("assignment.json is not a regular file"),
        "{error}"
    );
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = AssignmentFile::new(directory.path().join("none/assignment.json"));
    assert_eq!(nowhere.load().await.unwrap(), None);
    assert!(nowhere.save(&assignment("a")).await.is_err());
    // A directory in place of the file.
    let store = AssignmentFile::new(directory.path());
    assert!(store.load().await.is_err());
    assert!(store.clear().await.is_err());
}

/// Runs this test as another process, which may not write to files.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_save_that_fails_leaves_the_earlier_assignment() {
    const TEST: &str = "hub::store::a_save_that_fails_leaves_the_earlier_assignment";
    if let Ok(path) = std::env::var(CHILD) {
        let store = AssignmentFile::new(&path);
        let error = store.save(&assignment("b")).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("{path} was not changed: ")),
            "{text}"
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("assignment.json");
    let store = AssignmentFile::new(&path);
    store.save(&assignment("a")).await.unwrap();
    let limited = r#"trap '' XFSZ; ulimit -f 0; exec "$0" "$@""#;
    let child = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(CHILD, &path)
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    assert_eq!(store.load().await.unwrap(), Some(assignment("a")));
    assert_eq!(names(directory.path()), ["assignment.json"]);
    store.save(&assignment("b")).await.unwrap();
    assert_eq!(store.load().await.unwrap(), Some(assignment("b")));
}

/// Runs this test as another process that saves all the time, and kills it.
#[tokio::test]
async fn a_program_that_is_killed_leaves_a_complete_file() {
    let all = ["a", "a-much-longer-name.azure-devices.net"].map(assignment);
    if let Ok(path) = std::env::var(CHILD) {
        let store = AssignmentFile::new(path);
        loop {
            for assignment in &all {
                store.save(assignment).await.unwrap();
                println!("saved");
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("assignment.json");
    let store = AssignmentFile::new(&path);
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let saved = lines.filter(|line| line.as_ref().unwrap().contains("saved"));
        assert_eq!(saved.take(round + 1).count(), round + 1);
        child.kill().unwrap();
        child.wait().unwrap();
        let loaded = store.load().await.unwrap();
        assert!(
            all.iter().any(|one| Some(one) == loaded.as_ref()),
            "{loaded:?}"
        );
    }
}
