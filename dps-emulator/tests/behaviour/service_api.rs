//! The service API: documents that an operator writes and reads.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_device::attestation::TpmKeys;
use dps_hardware::SoftwareTpm;
use serde_json::{Value, json};

use crate::common::{
    Answer, Dps, KEY_1, KEY_2, KEY_3, assert_etag, assert_timestamp, derive, key_enrollment,
    key_group, names, with,
};

/// An enrollment with every field.
fn full() -> Value {
    json!({
        "allocationPolicy": "custom",
        "attestation": {
            "type": "symmetricKey",
            "symmetricKey": { "primaryKey": KEY_1, "secondaryKey": KEY_2 },
        },
        "capabilities": { "iotEdge": true },
        "customAllocationDefinition": {
            "webhookUrl": "https://contoso.azurewebsites.net/api/allocate?code=key",
            "apiVersion": "2021-10-01",
        },
        "deviceId": "toaster-1",
        "initialTwin": {
            "tags": { "floor": 3 },
            "properties": { "desired": { "darkness": "medium" } },
        },
        "iotHubs": ["127.0.0.1"],
        "optionalDeviceInformation": { "batch": "7b" },
        "provisioningStatus": "enabled",
        "registrationId": "dev-1",
        "reprovisionPolicy": { "updateHubAssignment": true, "migrateDeviceData": false },
        "someDay": { "maybe": [1, 2, 3] },
    })
}

#[tokio::test]
async fn a_created_enrollment_is_answered_with_all_of_it() {
    let dps = Dps::start().await;
    let answer = dps.put("/enrollments/dev-1", &full()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(answer.header("x-ms-request-id").map(str::len), Some(36));
    let shown = answer.json();
    assert_etag(&shown["etag"]);
    assert_timestamp(&shown["createdDateTimeUtc"]);
    assert_eq!(shown["createdDateTimeUtc"], shown["lastUpdatedDateTimeUtc"]);
    assert_eq!(
        shown,
        with(
            full(),
            json!({
                "etag": shown["etag"],
                "createdDateTimeUtc": shown["createdDateTimeUtc"],
                "lastUpdatedDateTimeUtc": shown["lastUpdatedDateTimeUtc"],
            })
        )
    );
}

#[tokio::test]
async fn the_fields_come_in_the_services_order() {
    let dps = Dps::start().await;
    let shown = dps.create("/enrollments/dev-1", &full()).await;
    assert_eq!(
        names(&shown),
        [
            "registrationId",
            "deviceId",
            "optionalDeviceInformation",
            "attestation",
            "capabilities",
            "initialTwin",
            "etag",
            "provisioningStatus",
            "reprovisionPolicy",
            "createdDateTimeUtc",
            "lastUpdatedDateTimeUtc",
            "allocationPolicy",
            "iotHubs",
            "customAllocationDefinition",
            "someDay",
        ]
    );
    let read = dps.get("/enrollments/dev-1").await.json();
    assert_eq!(
        names(&read)[..4],
        [
            "registrationId",
            "deviceId",
            "registrationState",
            "optionalDeviceInformation"
        ]
    );
}

#[tokio::test]
async fn missing_keys_are_made_and_shown_once() {
    let dps = Dps::start().await;
    for (path, id) in [
        ("/enrollments/dev-1", "registrationId"),
        ("/enrollmentGroups/dev-1", "enrollmentGroupId"),
    ] {
        let attestation = json!({ "type": "symmetricKey" });
        let document = json!({ id: "dev-1", "attestation": attestation });
        let created = dps.create(path, &document).await;
        let keys = &created["attestation"]["symmetricKey"];
        let bytes = |name: &str| STANDARD.decode(keys[name].as_str().expect("text"));
        assert_eq!(bytes("primaryKey").expect("base64").len(), 64);
        assert_eq!(bytes("secondaryKey").expect("base64").len(), 64);
        assert_ne!(keys["primaryKey"], keys["secondaryKey"]);

        let read = dps.get(path).await.json();
        assert_eq!(read["attestation"], attestation);
        assert_eq!(dps.attestation(path).await, created["attestation"]);
    }
}

#[tokio::test]
async fn keys_may_be_null_or_one_of_them_given() {
    let dps = Dps::start().await;
    let enrollment = |keys: Value| {
        json!({
            "registrationId": "dev-1",
            "attestation": { "type": "symmetricKey", "symmetricKey": keys },
        })
    };
    for (keys, primary) in [
        (Value::Null, None),
        (json!({ "primaryKey": null, "secondaryKey": null }), None),
        (json!({ "primaryKey": KEY_1 }), Some(KEY_1)),
    ] {
        dps.delete("/enrollments/dev-1").await;
        let created = dps.create("/enrollments/dev-1", &enrollment(keys)).await;
        let keys = &created["attestation"]["symmetricKey"];
        assert!(keys["secondaryKey"].as_str().expect("made").len() == 88);
        if let Some(primary) = primary {
            assert_eq!(keys["primaryKey"], primary);
        }
    }
}

#[tokio::test]
async fn a_read_adds_the_devices_registration_to_an_individual_enrollment_alone() {
    let dps = Dps::start().await;
    let created = dps
        .create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    assert_eq!(created.get("registrationState"), None);
    let read = dps.get("/enrollments/dev-1").await;
    assert_eq!(
        read.json()["registrationState"],
        json!({ "registrationId": "dev-1", "status": "unassigned" })
    );

    dps.device("dev-1").key(KEY_1).assigned().await;
    let state = dps.get("/enrollments/dev-1").await.json()["registrationState"].clone();
    assert_eq!(state["status"], "assigned");
    assert_eq!(state, dps.get("/registrations/dev-1").await.json());

    let group = dps
        .create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let read = dps.get("/enrollmentGroups/g").await.json();
    assert_eq!(
        (
            group.get("registrationState"),
            read.get("registrationState")
        ),
        (None, None)
    );
}

#[tokio::test]
async fn null_counts_as_absent_except_for_the_provisioning_status() {
    let dps = Dps::start().await;
    let nulls = json!({
        "deviceId": null,
        "capabilities": null,
        "initialTwin": { "tags": { "floor": null }, "properties": { "desired": null } },
        "etag": null,
        "reprovisionPolicy": null,
        "provisioningStatus": null,
        "iotHubs": null,
        "allocationPolicy": null,
        "registrationState": null,
    });
    let enrollment = with(key_enrollment("dev-1", KEY_1, KEY_2), nulls);
    for shown in [
        dps.create("/enrollments/dev-1", &enrollment).await,
        dps.get("/enrollments/dev-1").await.json(),
    ] {
        assert_eq!(shown.get("provisioningStatus"), Some(&Value::Null));
        assert_eq!(
            shown["initialTwin"],
            json!({ "tags": { "floor": null }, "properties": {} })
        );
        for absent in [
            "deviceId",
            "capabilities",
            "reprovisionPolicy",
            "iotHubs",
            "allocationPolicy",
        ] {
            assert_eq!(shown.get(absent), None, "{absent}");
        }
    }
    dps.device("dev-1").key(KEY_1).assigned().await;
}

#[tokio::test]
async fn an_endorsement_key_is_not_secret() {
    let dps = Dps::start().await;
    let key = SoftwareTpm::number(1).endorsement_key().to_base64();
    let document = json!({
        "registrationId": "dev-1",
        "attestation": {
            "type": "tpm",
            "tpm": { "endorsementKey": key, "storageRootKey": null },
        },
    });
    let attestation = json!({ "type": "tpm", "tpm": { "endorsementKey": key } });
    let created = dps.create("/enrollments/dev-1", &document).await;
    let read = dps.get("/enrollments/dev-1").await.json();
    for shown in [
        &created["attestation"],
        &read["attestation"],
        &dps.attestation("/enrollments/dev-1").await,
    ] {
        assert_eq!(shown, &attestation);
    }
}

#[tokio::test]
async fn a_read_changed_and_written_enrollment_keeps_its_keys() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let mut document = dps.get("/enrollments/dev-1").await.json();
    document["deviceId"] = json!("toaster-1");
    let etag = document["etag"].as_str().expect("text").to_owned();
    let answer = dps.put_if("/enrollments/dev-1", &etag, &document).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.json()["attestation"]["symmetricKey"]["primaryKey"],
        KEY_1
    );
    let state = dps.device("dev-1").key(KEY_2).assigned().await;
    assert_eq!(state["deviceId"], "toaster-1");
}

#[tokio::test]
async fn a_registration_can_be_read_and_deleted() {
    let dps = Dps::start().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_3))
        .await;
    let device = dps.device("Dev-1").key(&derive(KEY_1, "Dev-1"));
    let seen = device.assigned().await;

    let answer = dps.get("/registrations/dev-1").await;
    assert_eq!(answer.status, 200);
    let state = answer.json();
    assert_eq!(
        state,
        json!({
            "registrationId": "Dev-1",
            "createdDateTimeUtc": seen["createdDateTimeUtc"],
            "assignedHub": "127.0.0.1",
            "deviceId": "Dev-1",
            "status": "assigned",
            "substatus": "initialAssignment",
            "lastUpdatedDateTimeUtc": seen["lastUpdatedDateTimeUtc"],
            "etag": seen["etag"],
        })
    );

    let answer = dps.delete("/registrations/DEV-1").await;
    assert_eq!((answer.status, &*answer.text), (204, ""));
    let answer = dps.get("/registrations/dev-1").await;
    answer.assert_error(404_203, "Registration not found.");
    assert_eq!(device.assigned().await["substatus"], "initialAssignment");
}

#[tokio::test]
async fn paths_are_understood_in_any_case_and_with_a_slash_at_the_end() {
    let dps = Dps::start().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    dps.create("/enrollments/a:b", &key_enrollment("a:b", KEY_1, KEY_2))
        .await;
    for path in [
        "/enrollmentgroups/g",
        "/ENROLLMENTGROUPS/G/",
        "/Enrollments/A%3ab",
        "/enrollments/a:b/",
    ] {
        assert_eq!(dps.get(path).await.status, 200, "{path}");
        dps.attestation(path.trim_end_matches('/')).await;
    }
    let slash = dps.service("POST", "/enrollmentgroups/g/AttestationMechanism/");
    assert_eq!(Answer::to(slash).await.status, 200);
}

#[tokio::test]
async fn a_value_is_understood_in_any_case_and_shown_in_the_services() {
    let dps = Dps::start().await;
    let enrollment = json!({
        "RegistrationId": "dev-1",
        "Attestation": { "Type": "SymmetricKey" },
        "AllocationPolicy": "Hashed",
        "provisioningstatus": "Disabled",
    });
    let shown = dps.create("/enrollments/dev-1", &enrollment).await;
    assert_eq!(shown["attestation"]["type"], "symmetricKey");
    assert_eq!(shown["allocationPolicy"], "hashed");
    assert_eq!(shown["provisioningStatus"], "disabled");
}

#[tokio::test]
async fn an_operator_may_send_chunks() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dps = Dps::start().await;
    let token = dps.service_sas().sign(&dps.service_key);
    let document = key_enrollment("dev-1", KEY_1, KEY_2).to_string();
    let request = format!(
        "PUT /enrollments/dev-1?api-version=2021-10-01 HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nAuthorization: {token}\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{document}\r\n0\r\n\r\n",
        document.len()
    );
    let mut stream = dps.connect().await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}
