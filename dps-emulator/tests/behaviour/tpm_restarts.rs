//! TPMs and restarts of the emulator, and the log.

use std::path::Path;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_hardware::SoftwareTpm;
use serde_json::json;
use tempfile::TempDir;

use crate::common::{Device, Dps, Program, TpmDevice, tpm_enrollment};

async fn start(dir: &Path, delay: Duration) -> (Dps, TpmDevice) {
    let dps = Dps::start_with(|builder| builder.data_dir(dir).assign_delay(delay)).await;
    let device = TpmDevice::new(&dps, "dev-1", SoftwareTpm::number(1));
    let document = tpm_enrollment("dev-1", &device.tpm);
    // The second run already has the enrollment.
    let answer = dps.put("/enrollments/dev-1", &document).await;
    assert!(matches!(answer.status, 200 | 409), "{answer:?}");
    (dps, device)
}

/// Sends the token of a device to another run of the emulator.
fn token(device: &TpmDevice, key: Vec<u8>) -> Device {
    device.unsigned().key(&STANDARD.encode(key))
}

#[tokio::test]
async fn a_challenge_is_lost_at_a_restart_and_another_follows() {
    let dir = TempDir::new().expect("a directory");
    let (dps, device) = start(dir.path(), Duration::ZERO).await;
    device.challenged().await;
    let key = device.tpm.challenge_key().expect("opened");
    dps.emulator.shutdown().await;

    let (_dps, device) = start(dir.path(), Duration::ZERO).await;
    let signed = token(&device, key);
    let answer = signed.register().await;
    answer.assert_error(401_002, "Unauthorized");
    let again = signed.register_with(device.body()).await;
    assert_eq!(again.json()["keyName"], "registration");
    device.open(&again).await.assigned().await;
}

#[tokio::test]
async fn a_registration_in_progress_survives_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let (dps, device) = start(dir.path(), Duration::from_secs(3600)).await;
    let operation = device.challenged().await.register().await.json()["operationId"].clone();
    let operation = operation.as_str().expect("text");
    let key = device.tpm.challenge_key().expect("opened");
    dps.emulator.shutdown().await;

    let (dps, device) = start(dir.path(), Duration::ZERO).await;
    let signed = token(&device, key.clone());
    let document = signed.finish(operation).await;
    let hub_key = device.hub_key(&document["registrationState"]).await;
    dps.emulator.shutdown().await;

    let (_dps, device) = start(dir.path(), Duration::ZERO).await;
    let found = token(&device, key).lookup().await.json();
    assert_eq!(found["etag"], document["registrationState"]["etag"]);
    assert_eq!(device.hub_key(&found).await, hub_key);
    let state = device.assigned().await;
    assert_eq!(device.hub_key(&state).await, hub_key);
}

#[tokio::test]
async fn the_log_has_no_key_of_a_tpm() {
    let program = Program::start_logging("trace", &["--ephemeral"]).await;
    let device = TpmDevice::new(&program.wire, "dev-1", SoftwareTpm::number(1));
    let bad = json!({
        "registrationId": "dev-2",
        "attestation": { "type": "tpm", "tpm": { "endorsementKey": "AToAXYZ0" } },
    });
    let refused = program.wire.put("/enrollments/dev-2", &bad).await;
    assert_eq!(refused.status, 400);
    let document = tpm_enrollment("dev-1", &device.tpm);
    program.wire.create("/enrollments/dev-1", &document).await;
    let state = device.assigned().await;
    let challenge_key = device.tpm.challenge_key().expect("opened");
    let hub_key = device.hub_key(&state).await;
    let (_, log) = program.end_with("TERM").await;

    assert!(log.contains("challenge for a TPM"), "{log}");
    for key in [challenge_key, hub_key] {
        assert!(!log.contains(&STANDARD.encode(&key)));
        let listed = format!("{key:?}");
        assert!(!log.contains(listed.trim_matches(['[', ']'])));
    }
    assert!(!log.contains("SharedAccessSignature"));
    let blob = state["tpm"]["authenticationKey"].as_str().expect("text");
    assert!(!log.contains(blob));
}
