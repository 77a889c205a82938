//! Hubs and twins after the emulator was stopped or killed.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use tokio::task::JoinSet;

use crate::common::linked;
use crate::common::{Dps, HubApi, KEY_1, KEY_2, Program, derive, key_enrollment, key_group, with};

fn at(hub: &str) -> Value {
    json!({ "allocationPolicy": "static", "iotHubs": [hub] })
}

fn operator(program: &Program, hub: &str) -> HubApi {
    let text = program.ready["hubConnectionStrings"][hub].as_str();
    HubApi::with_connection_string(&program.wire, text.expect("a connection string"))
}

#[cfg(unix)]
#[tokio::test]
async fn hubs_and_twins_survive_a_killed_program() {
    let dir = TempDir::new().expect("a directory");
    let data = dir.path().join("data");
    let data = data.to_str().expect("text");
    let options = ["--data-dir", data, "--hub", "hub-a", "--hub", "hub-b"];
    let enrollment = |hub: &str| with(key_enrollment("dev-1", KEY_1, KEY_2), at(hub));

    let program = Program::start(&options).await;
    program
        .wire
        .create("/enrollments/dev-1", &enrollment("hub-a"))
        .await;
    program.wire.device("dev-1").key(KEY_1).assigned().await;
    let patch = json!({ "tags": { "kept": true }, "properties": { "desired": { "x": 1 } } });
    let hub_a = operator(&program, "hub-a");
    let patched = hub_a.send("PATCH", "/twins/dev-1", &patch).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let (key, before) = (hub_a.key.clone(), hub_a.twin("dev-1").await);
    program.end_with("KILL").await;

    let program = Program::start(&options).await;
    let hub_a = operator(&program, "hub-a");
    assert_eq!(hub_a.key, key);
    let after = hub_a.twin("dev-1").await;
    for part in ["tags", "properties", "version", "etag", "deviceEtag"] {
        assert_eq!(after[part], before[part], "{part}");
    }
    program
        .wire
        .put_if("/enrollments/dev-1", "*", &enrollment("hub-b"))
        .await;
    let state = program.wire.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["substatus"], "deviceDataMigrated");
    program.end_with("KILL").await;

    let program = Program::start(&options).await;
    assert_eq!(
        operator(&program, "hub-a")
            .get("/devices/dev-1")
            .await
            .status,
        404
    );
    let twin = operator(&program, "hub-b").twin("dev-1").await;
    assert_eq!(twin["tags"], json!({ "kept": true }));
    assert_eq!(twin["properties"]["desired"]["x"], 1);
}

#[tokio::test]
async fn a_move_in_progress_is_finished_after_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let start = async |delay: u64| {
        Dps::start_with(|builder| {
            let builder = builder
                .data_dir(dir.path())
                .link_hub(linked("hub-a"))
                .link_hub(linked("hub-b"));
            builder.assign_delay(Duration::from_secs(delay))
        })
        .await
    };
    let enrollment = |hub: &str| with(key_enrollment("dev-1", KEY_1, KEY_2), at(hub));
    let dps = start(0).await;
    dps.create("/enrollments/dev-1", &enrollment("hub-a")).await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    let hub_a = dps.hub("hub-a");
    hub_a
        .update_desired("dev-1", json!({ "x": 1 }))
        .await
        .expect("patched");
    drop(hub_a);
    dps.put_if("/enrollments/dev-1", "*", &enrollment("hub-b"))
        .await;
    dps.emulator.shutdown().await;

    let dps = start(600).await;
    let operation = dps.device("dev-1").key(KEY_1).register().await.json()["operationId"].clone();
    assert!(
        dps.hub("hub-a")
            .device("dev-1")
            .await
            .expect("read")
            .is_some()
    );
    dps.emulator.shutdown().await;

    let dps = start(0).await;
    let operation = operation.as_str().expect("text");
    let document = dps.device("dev-1").key(KEY_1).finish(operation).await;
    assert_eq!(
        document["registrationState"]["substatus"],
        "deviceDataMigrated"
    );
    assert!(
        dps.hub("hub-a")
            .device("dev-1")
            .await
            .expect("read")
            .is_none()
    );
    let moved = dps.hub("hub-b").device("dev-1").await.expect("read");
    assert_eq!(json!(moved.expect("moved").desired()), json!({ "x": 1 }));
}

/// If the program is killed while devices move, every device is in exactly one hub, that of its registration, with its twin.
#[cfg(unix)]
#[tokio::test]
async fn every_device_of_a_moving_fleet_is_in_exactly_one_hub() {
    const FLEET: usize = 24;
    let dir = TempDir::new().expect("a directory");
    let data = dir.path().join("data");
    let data = data.to_str().expect("text");
    let options = ["--data-dir", data, "--hub", "hub-a", "--hub", "hub-b"];
    let group = |hub: &str| with(key_group("g", KEY_1, KEY_2), at(hub));
    let ids: Vec<String> = (0..FLEET).map(|number| format!("d{number}")).collect();

    let program = Program::start(&options).await;
    program
        .wire
        .create("/enrollmentGroups/g", &group("hub-a"))
        .await;
    for id in &ids {
        program
            .wire
            .device(id)
            .key(&derive(KEY_1, id))
            .assigned()
            .await;
        let patch = json!({ "tags": { "own": id } });
        let path = format!("/twins/{id}");
        let hub_a = operator(&program, "hub-a");
        assert_eq!(hub_a.send("PATCH", &path, &patch).await.status, 200);
    }
    program
        .wire
        .put_if("/enrollmentGroups/g", "*", &group("hub-b"))
        .await;
    let mut moves = JoinSet::new();
    for id in ids.clone() {
        let device = program.wire.device(&id).key(&derive(KEY_1, &id));
        let body = json!({ "registrationId": id });
        moves.spawn(async move { device.request("PUT", "/register").json(&body).send().await });
    }
    // Some of the devices have moved by now.
    for _ in 0..FLEET / 3 {
        let answered = moves.join_next().await.expect("more").expect("no panic");
        assert_eq!(answered.expect("an answer").status(), 202);
    }
    program.end_with("KILL").await;
    moves.shutdown().await;

    let program = Program::start(&options).await;
    let (hub_a, hub_b) = (operator(&program, "hub-a"), operator(&program, "hub-b"));
    let mut moved = 0;
    for id in &ids {
        let device = program.wire.device(id).key(&derive(KEY_1, id));
        let state = loop {
            let state = device.lookup().await.json();
            if state["status"] == "assigned" {
                break state;
            }
            assert_eq!(state["status"], "assigning", "{state}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let (here, there) = match state["assignedHub"].as_str() {
            Some("hub-a") => (&hub_a, &hub_b),
            _ => (&hub_b, &hub_a),
        };
        assert_eq!(here.twin(id).await["tags"], json!({ "own": id }), "{state}");
        assert_eq!(
            there.get(&format!("/devices/{id}")).await.status,
            404,
            "{state}"
        );
        moved += usize::from(state["assignedHub"] == "hub-b");
    }
    assert!(moved >= FLEET / 3, "the moves are complete: {moved}");
}
