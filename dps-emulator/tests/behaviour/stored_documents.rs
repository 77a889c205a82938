//! Every document that the emulator stores can be read again, and a stored document that cannot be read hides no other.

use std::sync::Arc;

use dps_emulator::store::{Change, Expected, MemoryStore, Store, Table};
use serde_json::{Value, json};

use crate::common::{
    Answer, Dps, Hook, KEY_1, KEY_2, certificate_group, derive, key_enrollment, key_group, with,
};

fn arrays(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

fn objects(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }))
}

#[tokio::test]
async fn a_payload_of_any_depth_is_refused_or_leaves_a_readable_record() {
    let dps = Dps::start().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    for nested in [arrays, objects] {
        for depth in [1, 2, 63, 64, 65, 100, 125, 126] {
            let id = format!("d-{depth}");
            let device = dps.device(&id).key(&derive(KEY_1, &id));
            let body = json!({ "registrationId": id, "payload": nested(depth) });
            let answer = device.register_with(body).await;
            let expected = if depth <= 64 { 202 } else { 400 };
            assert_eq!(answer.status, expected, "{depth}: {answer:?}");
            if expected == 202 {
                let operation = answer.json()["operationId"].clone();
                let done = device.finish(operation.as_str().expect("text")).await;
                assert_eq!(done["status"], "assigned");
                assert_eq!(dps.get(&format!("/registrations/{id}")).await.status, 200);
            }
            device.assigned().await;
        }
    }
    let list = Answer::to(dps.service("POST", "/registrations/g/query")).await;
    assert_eq!(list.status, 200, "{list:?}");
    assert_eq!(list.json().as_array().expect("a list").len(), 8);
}

#[tokio::test]
async fn a_webhooks_payload_of_any_depth_leaves_a_readable_record() {
    let dps = Dps::start().await;
    for depth in [1, 64, 65, 100, 124, 125, 126] {
        let body = json!({ "iotHubHostName": "127.0.0.1", "payload": arrays(depth) }).to_string();
        let hook = Hook::saying(200, &body).await;
        let custom = json!({
            "allocationPolicy": "custom",
            "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
        });
        let enrollment = with(key_enrollment("d1", KEY_1, KEY_2), custom);
        dps.create("/enrollments/d1", &enrollment).await;
        let done = dps.device("d1").key(KEY_1).provision().await;
        if depth <= 64 {
            assert_eq!(done["registrationState"]["payload"], arrays(depth));
        } else {
            assert_eq!(done["status"], "failed", "{done}");
            assert_eq!(done["registrationState"]["errorCode"], 400_207, "{done}");
        }
        assert_eq!(dps.get("/registrations/d1").await.status, 200);
        assert_eq!(dps.delete("/registrations/d1").await.status, 204);
        assert_eq!(dps.delete("/enrollments/d1").await.status, 204);
    }
}

#[tokio::test]
async fn an_enrollment_of_any_depth_is_refused_or_readable() {
    let dps = Dps::start().await;
    for depth in [1, 50, 60, 61, 62, 63, 64, 65, 100, 120, 126] {
        let twin = json!({ "initialTwin": { "tags": { "t": arrays(depth) } } });
        let unknown = json!({ "later": objects(depth) });
        for fields in [twin, unknown] {
            let document = with(key_enrollment("d1", KEY_1, KEY_2), fields);
            let answer = dps.put("/enrollments/d1", &document).await;
            assert!(matches!(answer.status, 200 | 400), "{depth}: {answer:?}");
            if answer.status == 200 {
                assert_eq!(dps.get("/enrollments/d1").await.status, 200);
                let done = dps.device("d1").key(KEY_1).provision().await;
                assert_ne!(done["status"], "assigning");
                assert_eq!(dps.delete("/enrollments/d1").await.status, 204);
            }
        }
    }
    let list = Answer::to(
        dps.service("POST", "/enrollments/query")
            .json(&json!({ "query": "SELECT *" })),
    )
    .await;
    assert_eq!(list.status, 200, "{list:?}");
}

#[tokio::test]
async fn a_twin_of_any_depth_is_refused_or_readable() {
    let dps = Dps::start().await;
    dps.create("/enrollments/d1", &key_enrollment("d1", KEY_1, KEY_2))
        .await;
    dps.device("d1").key(KEY_1).assigned().await;
    let hub = dps.hub("127.0.0.1");
    for nested in [arrays, objects] {
        for depth in [1, 10, 11, 64, 65, 100, 200] {
            let tags = json!({ "tags": { "t": nested(depth) } });
            let _refused_or_not = hub.update_twin("d1", tags).await;
            let _refused_or_not = hub
                .update_desired("d1", json!({ "t": nested(depth) }))
                .await;
            hub.twin("d1").await.expect("readable");
            let answer = dps.hub_api("127.0.0.1").get("/twins/d1").await;
            assert_eq!(answer.status, 200, "{depth}: {answer:?}");
        }
    }
    dps.device("d1").key(KEY_1).assigned().await;
}

/// A store whose documents were damaged by something else.
async fn damaged() -> (Dps, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    let shared = Arc::clone(&store);
    let dps = Dps::start_with(|builder| builder.store(shared)).await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    for id in ["d1", "d2", "d3"] {
        dps.device(id).key(&derive(KEY_1, id)).assigned().await;
        let path = format!("/enrollments/e-{id}");
        dps.create(&path, &key_enrollment(&format!("e-{id}"), KEY_1, KEY_2))
            .await;
    }
    for (table, key) in [
        (Table::Registrations, "d2"),
        (Table::Individuals, "e-d2"),
        (Table::Hubs, "127.0.0.1/d2"),
    ] {
        damage(&store, table, key).await;
    }
    (dps, store)
}

async fn damage(store: &MemoryStore, table: Table, key: &str) {
    assert!(
        store.get(table, key).await.expect("read").is_some(),
        "{key}"
    );
    let damaged = Change::put(table, key, Expected::Anything, b"{\"damaged\":".to_vec());
    assert!(store.apply(&[damaged]).await.expect("written"));
}

async fn listed(dps: &Dps, path: &str, id: &str) -> Vec<String> {
    let request = dps
        .service("POST", path)
        .json(&json!({ "query": "SELECT *" }));
    let answer = Answer::to(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.json();
    let ids = items.as_array().expect("a list").iter();
    ids.map(|item| item[id].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_damaged_document_hides_no_other_in_a_list() {
    let (dps, _store) = damaged().await;
    assert_eq!(
        listed(&dps, "/enrollments/query", "registrationId").await,
        ["e-d1", "e-d3"]
    );
    assert_eq!(
        listed(&dps, "/registrations/g/query", "registrationId").await,
        ["d1", "d3"]
    );
    let devices = dps.hub("127.0.0.1").devices().await.expect("listed");
    assert_eq!(devices.len(), 2);
}

#[tokio::test]
async fn an_enrollment_can_be_read_when_its_registration_record_is_damaged() {
    let (dps, store) = damaged().await;
    dps.device("e-d1").key(KEY_1).assigned().await;
    damage(&store, Table::Registrations, "e-d1").await;
    let answer = dps.get("/enrollments/e-d1").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let state = &answer.json()["registrationState"];
    assert_eq!(state["status"], "unassigned", "{state}");
}

#[tokio::test]
async fn a_damaged_document_can_be_deleted_and_created_again() {
    let (dps, _store) = damaged().await;
    for path in ["/registrations/d2", "/enrollments/e-d2"] {
        let answer = dps.get(path).await;
        answer.assert_error(
            500_001,
            "The stored document cannot be read. Delete it and create it again.",
        );
        assert_eq!(dps.delete(path).await.status, 204, "{path}");
        assert_eq!(dps.get(path).await.status, 404, "{path}");
    }
    dps.create("/enrollments/e-d2", &key_enrollment("e-d2", KEY_1, KEY_2))
        .await;
    // The registration also repairs the device in the hub.
    dps.device("d2").key(&derive(KEY_1, "d2")).assigned().await;
    let hub = dps.hub("127.0.0.1");
    assert!(hub.device("d2").await.expect("readable").is_some());
    assert_eq!(
        listed(&dps, "/registrations/g/query", "registrationId").await,
        ["d1", "d2", "d3"]
    );
}

#[tokio::test]
async fn a_damaged_enrollment_can_be_replaced_and_a_damaged_device_removed() {
    let (dps, _store) = damaged().await;
    let document = key_enrollment("e-d2", KEY_1, KEY_2);
    let answer = dps.put("/enrollments/e-d2", &document).await;
    assert_eq!(answer.status, 500, "it exists");
    let answer = dps.put_if("/enrollments/e-d2", "*", &document).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let hub = dps.hub("127.0.0.1");
    hub.device("d2").await.expect_err("damaged");
    hub.remove("d2").await.expect("removed");
    assert!(hub.device("d2").await.expect("readable").is_none());
}

#[tokio::test]
async fn a_damaged_group_does_not_stop_the_devices_of_others() {
    let (dps, store) = damaged().await;
    let ca = dps_emulator::CertificateAuthority::new("Root").expect("a CA");
    let group = certificate_group("x", ca.certificate_pem());
    dps.create("/enrollmentGroups/x", &group).await;
    damage(&store, Table::Groups, "x").await;
    dps.device("d1").key(&derive(KEY_1, "d1")).assigned().await;
    // Its certificate is free again.
    assert_eq!(dps.delete("/enrollmentGroups/x").await.status, 204);
    let group = certificate_group("y", ca.certificate_pem());
    dps.create("/enrollmentGroups/y", &group).await;
    let device = ca.issue("d9").expect("a certificate");
    dps.device("d9").certificate(&device).assigned().await;
}

#[tokio::test]
async fn an_emulator_starts_although_a_registration_in_progress_is_damaged() {
    let (dps, store) = damaged().await;
    let operation = Change::put(Table::Operations, "d2", Expected::Anything, vec![]);
    assert!(store.apply(&[operation]).await.expect("written"));
    dps.emulator.shutdown().await;
    let shared = Arc::clone(&store);
    let dps = Dps::start_with(|builder| builder.store(shared)).await;
    dps.device("d1").key(&derive(KEY_1, "d1")).assigned().await;
    assert_eq!(dps.delete("/registrations/d2").await.status, 204);
    assert_eq!(store.count(Table::Operations).await.expect("counted"), 0);
}
