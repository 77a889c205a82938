//! The data directory: everything in it survives a restart.

use std::path::Path;
use std::time::Duration;

use dps_emulator::{CertificateAuthority, Emulator, ErrorKind};
use serde_json::json;
use tempfile::TempDir;

use crate::common::{
    Dps, KEY_1, KEY_2, Program, certificate_group, derive, key_enrollment, key_group, with,
};

async fn start(dir: &Path) -> Dps {
    Dps::start_with(|builder| builder.data_dir(dir)).await
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let credentials = root.issue("dev-3").expect("a certificate");
    let disabled = with(
        key_enrollment("dev-2", KEY_1, KEY_2),
        json!({ "provisioningStatus": "disabled", "later": [1] }),
    );

    let dps = start(dir.path()).await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    dps.create("/enrollments/dev-2", &disabled).await;
    let contoso = certificate_group("contoso", root.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &contoso).await;
    let state = dps
        .device("dev-1")
        .key(&derive(KEY_1, "dev-1"))
        .assigned()
        .await;
    dps.device("dev-2").key(KEY_1).register().await;
    dps.create("/enrollments/dev-4", &key_enrollment("dev-4", KEY_1, KEY_2))
        .await;
    dps.delete("/enrollments/dev-4").await;
    let paths = [
        "/enrollmentGroups/g",
        "/enrollmentGroups/contoso",
        "/enrollments/dev-2",
        "/registrations/dev-1",
        "/registrations/dev-2",
        "/enrollments/dev-4",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(dps.get(path).await);
    }
    let (ca, key) = (dps.emulator.ca_pem().to_owned(), dps.service_key.clone());
    dps.emulator.shutdown().await;

    let dps = start(dir.path()).await;
    assert_eq!(dps.emulator.ca_pem(), ca);
    assert_eq!(dps.service_key, key);
    for (path, before) in paths.into_iter().zip(before) {
        let after = dps.get(path).await;
        assert_eq!(after.status, before.status, "{path}");
        if after.status == 200 {
            assert_eq!(after.text, before.text, "{path}");
        }
    }
    let device = dps.device("dev-1").key(&derive(KEY_1, "dev-1"));
    assert_eq!(device.lookup().await.json(), state);
    assert_eq!(
        device.assigned().await["substatus"],
        "reprovisionedToInitialAssignment"
    );
    dps.device("dev-3")
        .certificate(&credentials)
        .assigned()
        .await;
}

/// The next start then does not need to check the whole file.
#[tokio::test]
async fn the_state_file_reports_whether_the_registry_was_closed() {
    let dir = TempDir::new().expect("a directory");
    let state = || std::fs::read_to_string(dir.path().join("dps.redb.state")).expect("readable");
    let dps = start(dir.path()).await;
    assert_eq!(state(), "open\n");
    dps.emulator.shutdown().await;
    assert!(state().starts_with("closed, "), "{}", state());

    let program = Program::start(&["--data-dir", dir.path().to_str().expect("text")]).await;
    assert_eq!(state(), "open\n");
    let (status, log) = program.end_with("TERM").await;
    assert!(status.success(), "{log}");
    assert!(state().starts_with("closed, "), "{}", state());
}

/// As some file systems leave a file after a power failure.
#[tokio::test]
async fn a_zeroed_or_emptied_registry_file_stops_the_start() {
    let dir = TempDir::new().expect("a directory");
    let dps = start(dir.path()).await;
    dps.create("/enrollments/d1", &key_enrollment("d1", KEY_1, KEY_2))
        .await;
    dps.emulator.shutdown().await;
    let file = dir.path().join("dps.redb");
    let zeros = vec![0; std::fs::metadata(&file).expect("there").len() as usize];
    for content in [&zeros[..], &[]] {
        std::fs::write(&file, content).expect("written");
        let started = Emulator::builder().data_dir(dir.path()).start().await;
        let error = started.expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Store);
        let cause = std::error::Error::source(&error)
            .expect("a cause")
            .to_string();
        assert!(cause.contains("dps.redb is damaged: "), "{cause}");
    }
}

#[tokio::test]
async fn a_registration_in_progress_is_finished_after_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let dps = Dps::start_with(|builder| {
        builder
            .data_dir(dir.path())
            .assign_delay(Duration::from_secs(600))
    })
    .await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let operation = dps.device("dev-1").key(KEY_1).register().await.json()["operationId"].clone();
    let operation = operation.as_str().expect("text").to_owned();
    dps.emulator.shutdown().await;

    let dps = start(dir.path()).await;
    let document = dps.device("dev-1").key(KEY_1).finish(&operation).await;
    assert_eq!(document["status"], "assigned");
    assert_eq!(document["operationId"], operation);
}

#[tokio::test]
async fn a_configured_key_is_not_stored() {
    let dir = TempDir::new().expect("a directory");
    let kept = start(dir.path()).await;
    let key = kept.service_key.clone();
    kept.emulator.shutdown().await;
    let chosen = Dps::start_with(|builder| {
        let key = dps_types::SymmetricKey::from_base64(KEY_1).expect("a key");
        builder.data_dir(dir.path()).service_key(key)
    })
    .await;
    assert_eq!(chosen.service_key, KEY_1);
    assert_eq!(chosen.get("/enrollments/e").await.status, 404);
    chosen.emulator.shutdown().await;
    assert_eq!(start(dir.path()).await.service_key, key);
}

#[tokio::test]
async fn a_directory_in_use_is_reported() {
    let dir = TempDir::new().expect("a directory");
    let dps = start(dir.path()).await;
    let error = Emulator::builder().data_dir(dir.path()).start().await;
    let error = error.expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::Store);
    assert_eq!(error.to_string(), "the store cannot be opened");
    assert_eq!(
        dps.get("/enrollments/e").await.status,
        404,
        "the first goes on"
    );
}

#[tokio::test]
async fn a_directory_that_cannot_be_created_is_reported() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").expect("written");
    let error = Emulator::builder()
        .data_dir(file.join("data"))
        .start()
        .await;
    let error = error.expect_err("not a directory");
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("cannot be created"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().expect("a directory");
    let data = dir.path().join("new").join("data");
    let dps = start(&data).await;
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    drop(dps);
}
