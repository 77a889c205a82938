//! TPM attestation: challenge, answer, and the key for the hub.

use std::time::Duration;

use dps_emulator::fault::{Effect, Fault, Step};
use dps_hardware::SoftwareTpm;
use serde_json::{Value, json};

use crate::common::linked;
use crate::common::{
    Answer, Device, Dps, Hook, KEY_1, KEY_2, TpmDevice, assert_etag, assert_operation_id,
    assert_timestamp, key_enrollment, names, shown, tpm_enrollment, with,
};

/// An emulator, and a device with a TPM that is enrolled.
async fn enrolled() -> (Dps, TpmDevice) {
    let dps =
        Dps::start_with(|builder| builder.link_hub(linked("hub-a")).link_hub(linked("hub-b")))
            .await;
    let device = TpmDevice::new(&dps, "dev-1", SoftwareTpm::number(1));
    let document = tpm_enrollment("dev-1", &device.tpm);
    dps.create("/enrollments/dev-1", &document).await;
    (dps, device)
}

/// Changes the enrollment.
async fn change(dps: &Dps, tpm: &SoftwareTpm, fields: Value) {
    let document = with(tpm_enrollment("dev-1", tpm), fields);
    let answer = dps.put_if("/enrollments/dev-1", "*", &document).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn the_challenge_has_the_form_of_the_service() {
    let (_dps, device) = enrolled().await;
    let answer = device.ask().await;
    assert_eq!(answer.status, 401, "{answer:?}");
    let body = answer.json();
    let mut fields = names(&body);
    fields.sort_unstable();
    assert_eq!(fields, ["authenticationKey", "keyName", "message"]);
    assert_eq!(body["keyName"], "registration");
    assert_eq!(
        body["message"],
        "Authorization required, resend request using supplied key"
    );
    // Six parts of 52, 256, 142, 256, 80 and 0 bytes, and their lengths: 798 bytes in base64.
    let key = body["authenticationKey"].as_str().expect("text");
    assert_eq!((key.len(), &key[..3]), (1064, "ADQ"));
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/json; charset=utf-8")
    );
    let length = answer.text.len().to_string();
    assert_eq!(answer.header("Content-Length"), Some(&*length));
    assert_eq!(answer.header("x-ms-error-code"), None, "it is not an error");
    assert!(answer.header("x-ms-request-id").is_some());
}

#[tokio::test]
async fn a_tpm_gets_a_hub_and_a_key_for_it() {
    let (dps, device) = enrolled().await;
    let signed = device.challenged().await;
    let answer = signed.register_with(device.body()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let body = answer.json();
    assert_eq!(names(&body), ["operationId", "status"]);
    assert_eq!(body["status"], "assigning");
    let operation = body["operationId"].as_str().expect("an operation");
    assert_operation_id(operation);

    let document = signed.finish(operation).await;
    assert_eq!(document["status"], "assigned", "{document}");
    assert_eq!(document["operationId"], operation);
    let state = &document["registrationState"];
    assert_eq!(
        names(state),
        [
            "tpm",
            "registrationId",
            "createdDateTimeUtc",
            "assignedHub",
            "deviceId",
            "status",
            "substatus",
            "lastUpdatedDateTimeUtc",
            "etag"
        ]
    );
    assert_eq!(names(&state["tpm"]), ["authenticationKey"]);
    assert_eq!(state["registrationId"], "dev-1");
    assert_eq!(state["deviceId"], "dev-1");
    assert_eq!(state["substatus"], "initialAssignment");
    assert_timestamp(&state["createdDateTimeUtc"]);
    assert_etag(&state["etag"]);

    let challenge_key = device.tpm.challenge_key().expect("it is not forgotten yet");
    let hub_key = device.hub_key(state).await;
    assert_eq!(hub_key.len(), 32);
    assert_ne!(hub_key, challenge_key);

    // The operator sees the registration, and no key.
    let record = dps.get("/registrations/dev-1").await.json();
    assert_eq!(record["status"], "assigned");
    assert_eq!(record["etag"], state["etag"]);
    assert_eq!(record["tpm"], Value::Null);
}

/// iot-identity-service presents its keys once; the other SDKs repeat them.
#[tokio::test]
async fn the_answer_to_a_challenge_may_repeat_the_keys() {
    let (_dps, device) = enrolled().await;
    let signed = device.challenged().await;
    assert_eq!(signed.register().await.status, 202);
    let other = SoftwareTpm::number(2);
    for (part, status) in [("", 202), ("endorsementKey", 401), ("storageRootKey", 401)] {
        let mut body = device.body();
        if !part.is_empty() {
            body["tpm"][part] = shown(&other)[part].clone();
        }
        let answer = signed.register_with(body).await;
        assert_eq!(answer.status, status, "{part}: {answer:?}");
        if status == 401 {
            answer.assert_error(401_002, "Unauthorized");
        }
    }
}

#[tokio::test]
async fn the_hub_key_is_kept_while_the_device_is_assigned() {
    let (dps, device) = enrolled().await;
    let at = |hub: &str| json!({ "iotHubs": [hub], "allocationPolicy": "static" });
    let mut keys = Vec::new();
    for (hub, substatus) in [
        ("hub-a", "initialAssignment"),
        ("hub-a", "reprovisionedToInitialAssignment"),
        ("hub-b", "deviceDataMigrated"),
    ] {
        change(&dps, &device.tpm, at(hub)).await;
        let state = device.assigned().await;
        assert_eq!(state["assignedHub"], hub);
        assert_eq!(state["substatus"], substatus);
        let key = device.hub_key(&state).await;
        assert_ne!(Some(&key), device.tpm.challenge_key().as_ref());
        keys.push(key);
    }
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
}

#[tokio::test]
async fn another_tpm_under_the_same_name_gets_another_hub_key() {
    let (dps, device) = enrolled().await;
    let first = device.hub_key(&device.assigned().await).await;
    let other = TpmDevice::new(&dps, "dev-1", SoftwareTpm::number(2));
    let only = json!({ "iotHubs": ["hub-a"], "allocationPolicy": "static" });
    change(&dps, &other.tpm, only).await;
    let looked_up = other.challenged().await.lookup().await.json();
    assert_eq!(looked_up["status"], "assigned", "so was the TPM before");
    assert_eq!(looked_up["tpm"], json!({}), "whose key is for it alone");
    let second = other.hub_key(&other.assigned().await).await;
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_lookup_is_challenged_and_returns_the_hub_key() {
    let (_dps, device) = enrolled().await;
    let lookup = |device_now: Device| {
        let body = device.body();
        async move { Answer::to(device_now.request("POST", "").json(&body)).await }
    };
    let challenge = lookup(device.unsigned()).await;
    let signed = device.open(&challenge).await;
    let answer = lookup(signed).await;
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({ "registrationId": "dev-1", "status": "unassigned" })
        )
    );

    let state = device.assigned().await;
    let key = device.hub_key(&state).await;
    let challenge = lookup(device.unsigned()).await;
    let signed = device.open(&challenge).await;
    let found = lookup(signed).await.json();
    assert_eq!(found["etag"], state["etag"]);
    assert_ne!(
        found["tpm"]["authenticationKey"], state["tpm"]["authenticationKey"],
        "wrapped again"
    );
    assert_eq!(device.hub_key(&found).await, key);
}

#[tokio::test]
async fn a_disabled_tpm_is_refused_after_its_challenge() {
    let (dps, device) = enrolled().await;
    change(
        &dps,
        &device.tpm,
        json!({ "provisioningStatus": "disabled" }),
    )
    .await;
    let signed = device.challenged().await;
    let answer = signed.register().await;
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({
                "operationId": "",
                "status": "disabled",
                "registrationState": { "registrationId": "dev-1", "status": "disabled" },
            })
        )
    );
    assert_eq!(signed.lookup().await.json()["status"], "disabled");
}

/// A device that restarted asks for a new challenge while its registration is under way.
#[tokio::test]
async fn a_second_registration_joins_the_first_with_its_own_key() {
    let dps = Dps::start_with(|builder| builder.assign_delay(Duration::from_secs(3600))).await;
    let device = TpmDevice::new(&dps, "dev-1", SoftwareTpm::number(1));
    dps.create("/enrollments/dev-1", &tpm_enrollment("dev-1", &device.tpm))
        .await;
    let first = device.challenged().await;
    let operation = first.register().await.json()["operationId"].clone();
    let operation = operation.as_str().expect("text");
    let second = device.challenged().await;
    assert_eq!(
        first.poll(operation).await.status,
        202,
        "a challenge alone changes nothing"
    );
    assert_eq!(second.register().await.json()["operationId"], operation);
    assert_eq!(second.poll(operation).await.status, 202);
    first
        .poll(operation)
        .await
        .assert_error(401_002, "Unauthorized");
}

#[tokio::test]
async fn a_webhook_sees_the_keys_of_the_tpm() {
    let (dps, device) = enrolled().await;
    let hook = Hook::saying(200, r#"{"iotHubHostName":"hub-b"}"#).await;
    let custom = json!({
        "allocationPolicy": "custom",
        "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
    });
    change(&dps, &device.tpm, custom).await;
    let state = device.assigned().await;
    device.hub_key(&state).await;
    assert_eq!(state["assignedHub"], "hub-b");
    device.assigned().await;
    let asked = hook.asked(2).await;
    let keys = shown(&device.tpm);
    assert_eq!(
        asked[0].body["deviceRuntimeContext"],
        json!({ "registrationId": "dev-1", "tpm": keys })
    );
    assert_eq!(
        asked[1].body["deviceRuntimeContext"],
        json!({
            "registrationId": "dev-1",
            "currentIotHubHostName": "hub-b",
            "currentDeviceId": "dev-1",
            "tpm": keys,
        })
    );
    assert_eq!(
        asked[0].body["individualEnrollment"]["attestation"],
        json!({ "type": "tpm", "tpm": { "endorsementKey": keys["endorsementKey"] } })
    );
}

/// For a fault, the request for a challenge and its answer are two registrations.
#[tokio::test]
async fn faults_apply_to_the_challenge_and_to_the_answer() {
    let (dps, device) = enrolled().await;
    let faults = dps.emulator.faults();
    faults.next(Fault::new(Step::Register, Effect::Fail(503)));
    faults.next(Fault::new(Step::Register, Effect::DropAfter));
    faults.next(Fault::new(Step::Register, Effect::Delay(Duration::ZERO)));
    faults.next(Fault::new(Step::Register, Effect::DropAfter));
    assert_eq!(device.ask().await.status, 503);
    let lost = |asked: Device| {
        let request = asked.request("PUT", "/register").json(&device.body());
        async move { request.send().await.is_err() }
    };
    assert!(lost(device.unsigned()).await, "the challenge is lost");
    let signed = device.challenged().await;
    assert!(lost(signed.clone()).await, "the answer is lost");
    assert_eq!(faults.pending(), 0);
    // The registration was carried out, and the same token can be used again.
    assert_eq!(signed.assigned().await["status"], "assigned");
}

/// A device with another kind of enrollment is also challenged, and then refused.
#[tokio::test]
async fn a_tpm_cannot_use_an_enrollment_of_another_kind() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = TpmDevice::new(&dps, "dev-1", SoftwareTpm::number(1));
    let signed = device.challenged().await;
    let answer = signed.register_with(device.body()).await;
    answer.assert_error(401_002, "Unauthorized");
    assert_eq!(dps.get("/registrations/dev-1").await.status, 404);
}
