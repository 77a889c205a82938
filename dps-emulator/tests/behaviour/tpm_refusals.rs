//! Refused TPMs: the wrong key, a late answer, or no enrollment.

use std::sync::Arc;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_device::attestation::TpmKeys;
use dps_hardware::SoftwareTpm;
use serde_json::{Value, json};

use crate::common::{Dps, KEY_1, KEY_2, TestClock, TpmDevice, key_group, shown, tpm_enrollment};

async fn enrolled(dps: &Dps) -> TpmDevice {
    let device = TpmDevice::new(dps, "dev-1", SoftwareTpm::number(1));
    let document = tpm_enrollment("dev-1", &device.tpm);
    dps.create("/enrollments/dev-1", &document).await;
    device
}

#[tokio::test]
async fn another_tpm_is_challenged_and_then_refused() {
    let dps = Dps::start().await;
    enrolled(&dps).await;
    let thief = TpmDevice::new(&dps, "dev-1", SoftwareTpm::number(2));
    let signed = thief.challenged().await;
    for body in [json!({}), thief.body()] {
        let answer = signed.register_with(body).await;
        answer.assert_error(401_002, "Unauthorized");
    }
    assert_eq!(dps.get("/registrations/dev-1").await.status, 404);
}

#[tokio::test]
async fn the_public_keys_of_a_tpm_are_not_enough() {
    let dps = Dps::start().await;
    let device = enrolled(&dps).await;
    let challenge = device.ask().await.json();
    let blob = challenge["authenticationKey"].as_str().expect("text");
    let blob = dps_types::tpm::AuthenticationKey::from_base64(blob).expect("a blob");
    let thief = SoftwareTpm::number(2);
    assert!(thief.activate(&blob).await.is_err());
    let guess = device.unsigned().key(KEY_1);
    let answer = guess.register_with(device.body()).await;
    answer.assert_error(401_002, "Unauthorized");
    // The guess does not affect the device.
    device.tpm.activate(&blob).await.expect("for this TPM");
    let key = STANDARD.encode(device.tpm.challenge_key().expect("opened"));
    assert_eq!(device.unsigned().key(&key).register().await.status, 202);
}

#[tokio::test]
async fn only_the_latest_challenge_counts() {
    let dps = Dps::start().await;
    let device = enrolled(&dps).await;
    let first = device.challenged().await;
    let second = device.challenged().await;
    let answer = first.register_with(device.body()).await;
    answer.assert_error(401_002, "Unauthorized");
    second.assigned().await;
}

/// Anyone may request a challenge, under any registration id.
#[tokio::test]
async fn the_challenge_of_another_tpm_does_not_affect_the_device() {
    let dps = Dps::start().await;
    let device = enrolled(&dps).await;
    let thief = TpmDevice::new(&dps, "dev-1", SoftwareTpm::number(2));
    let signed = device.challenged().await;
    let stolen = thief.challenged().await;
    let answer = stolen.register_with(thief.body()).await;
    answer.assert_error(401_002, "Unauthorized");
    signed.assigned().await;
}

#[tokio::test]
async fn unknown_tpms_with_one_registration_id_each_get_their_own_failure() {
    let dps = Dps::start().await;
    let [one, other] = [1, 2].map(|number| TpmDevice::new(&dps, "x", SoftwareTpm::number(number)));
    let (one, other) = (one.challenged().await, other.challenged().await);
    let operation = one.register().await.json()["operationId"].clone();
    let operation = operation.as_str().expect("text");
    assert_eq!(one.poll(operation).await.json()["status"], "failed");
    other
        .poll(operation)
        .await
        .assert_error(404_001, "Operation not found.");
}

#[tokio::test]
async fn a_challenge_can_be_answered_for_ten_minutes() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(Arc::new(clock.clone()))).await;
    let device = enrolled(&dps).await;
    let signed = device.challenged().await;
    clock.advance(Duration::from_secs(9 * 60));
    let operation = signed.register().await.json()["operationId"].clone();
    clock.advance(Duration::from_secs(2 * 60));
    signed
        .finish(operation.as_str().expect("what was accepted goes on"))
        .await;
    let answer = signed.register().await;
    answer.assert_error(401_002, "Unauthorized");
    // A request that repeats the keys is answered with a new challenge.
    let again = signed.register_with(device.body()).await;
    device.open(&again).await.assigned().await;
}

#[tokio::test]
async fn an_unknown_tpm_is_challenged_and_then_fails() {
    let dps = Dps::start().await;
    // A group does not apply to TPMs.
    dps.create("/enrollmentGroups/grp", &key_group("grp", KEY_1, KEY_2))
        .await;
    let device = TpmDevice::new(&dps, "stranger", SoftwareTpm::number(3));
    let signed = device.challenged().await;
    let answer = signed.register_with(device.body()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let operation = answer.json()["operationId"].clone();
    assert_eq!(
        answer.json(),
        json!({ "operationId": operation, "status": "assigning" })
    );
    let operation = operation.as_str().expect("text");
    let answer = signed.poll(operation).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let document = answer.json();
    assert_eq!(document["operationId"], operation);
    assert_eq!(document["status"], "failed");
    let state = &document["registrationState"];
    assert_eq!(state["registrationId"], "stranger");
    assert_eq!(state["status"], "failed");
    assert_eq!(state["errorCode"], 404_201);
    assert_eq!(state["errorMessage"], "Enrollment not found.");

    assert_eq!(dps.get("/registrations/stranger").await.status, 404);
    let other = "5.0123456789abcdef.00000000-0000-0000-0000-000000000000";
    signed
        .poll(other)
        .await
        .assert_error(404_001, "Operation not found.");
    signed
        .lookup()
        .await
        .assert_error(404_201, "Enrollment not found.");
    let without = device.unsigned().poll(operation).await;
    without.assert_error(401_002, "Invalid certificate.");

    // After its enrollment it is accepted.
    let document = tpm_enrollment("stranger", &device.tpm);
    dps.create("/enrollments/stranger", &document).await;
    signed.assigned().await;
}

#[tokio::test]
async fn a_deleted_enrollment_refuses_its_device() {
    let dps = Dps::start().await;
    let device = enrolled(&dps).await;
    let signed = device.challenged().await;
    signed.assigned().await;
    assert_eq!(dps.delete("/enrollments/dev-1").await.status, 204);
    assert_eq!(signed.failed().await.0, 404_201);
}

#[tokio::test]
async fn invalid_keys_are_refused() {
    let dps = Dps::start().await;
    let device = enrolled(&dps).await;
    let good = shown(&device.tpm);
    let key = |name: &str| good[name].as_str().expect("text").to_owned();
    let (endorsement_key, storage_root_key) = (key("endorsementKey"), key("storageRootKey"));
    let bytes = device.tpm.endorsement_key().as_bytes().to_vec();
    let changed = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        STANDARD.encode(bytes)
    };
    let last = bytes.len() - 1;
    for (wrong, reason) in [
        (String::new(), "it ends within the public area"),
        ("AToA".to_owned(), "it ends within the public area"),
        ("no base64!".to_owned(), "it is not base64"),
        (changed(1, 0x39), "1 bytes too many"),
        (changed(3, 0x23), "it is an elliptic curve key"),
        (changed(3, 0x08), "its type is 0x0008, not 0x0001"),
        (changed(7, 0x07), "restricted decryption key"),
        (changed(9, 0x30), "attributes"),
        (changed(last, bytes[last] & 0xfe), "modulus"),
        (storage_root_key.clone(), "attributes"),
        ("A".repeat(60_000), "too many"),
    ] {
        let tpm = json!({ "endorsementKey": wrong, "storageRootKey": storage_root_key });
        assert_bad(&device, tpm, "The endorsementKey cannot be used: ", reason).await;
    }
    for (wrong, reason) in [
        (json!("AToA"), "The storageRootKey cannot be used: "),
        (
            json!(endorsement_key),
            "The storageRootKey cannot be used: ",
        ),
        (Value::Null, "The storageRootKey is missing."),
    ] {
        let tpm = json!({ "endorsementKey": endorsement_key, "storageRootKey": wrong });
        assert_bad(&device, tpm, reason, "").await;
    }
    for tpm in [json!({}), json!("AToA"), json!({ "endorsementKey": 1 })] {
        assert_bad(&device, tpm, "", "").await;
    }
    device.assigned().await;
}

async fn assert_bad(device: &TpmDevice, tpm: Value, begins: &str, contains: &str) {
    let body = json!({ "registrationId": "dev-1", "tpm": tpm });
    let answer = device.unsigned().register_with(body).await;
    assert_eq!(answer.status, 400, "{contains}: {answer:?}");
    let body = answer.json();
    assert_eq!(body["errorCode"], 400_004, "{answer:?}");
    let message = body["message"].as_str().expect("text");
    assert!(
        message.starts_with(begins) && message.contains(contains),
        "{begins} {contains}: {answer:?}"
    );
}

/// Every address of 127.0.0.0/8 is the machine's own on Linux only.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_address_does_not_use_up_the_challenges_of_others() {
    let mut limits = dps_emulator::Limits::default();
    limits.tpm_challenges_per_address = 2;
    let dps = Dps::start_with(|builder| builder.limits(limits)).await;
    let tpm = SoftwareTpm::number(1);
    dps.create("/enrollments/dev-1", &tpm_enrollment("dev-1", &tpm))
        .await;
    let device = TpmDevice::new(&dps, "dev-1", tpm);
    let challenge = device.ask().await;

    // Another client asks for many challenges, also with the public keys of the device.
    let other = dps.bound_to([127, 0, 0, 2].into());
    let mut challenges = Vec::new();
    for number in 0..4 {
        let id = format!("other-{number}");
        let mine = TpmDevice::new(&other, &id, SoftwareTpm::number(2));
        challenges.push((mine.ask().await, mine));
        TpmDevice::new(&other, &id, SoftwareTpm::number(1))
            .ask()
            .await;
    }
    let mine = device.open(&challenge).await;
    assert_eq!(mine.provision().await["status"], "assigned");

    // The oldest challenges of that client were replaced, so that their answers are followed by a new challenge.
    let (challenge, oldest) = &challenges[0];
    let answer = oldest.open(challenge).await;
    let answer = answer.register_with(oldest.body()).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.json()["authenticationKey"].is_string(), "{answer:?}");
}
