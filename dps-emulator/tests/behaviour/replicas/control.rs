//! What one control endpoint changes applies to all emulators that share the store: the clock, the faults and the recording.

use std::time::Duration;

use dps_emulator::store::Table;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::replica;
use crate::common::{Control, Database, Dps, KEY_1, TIMEOUT, with_control};

async fn replicas(database: &Database) -> [(Dps, Control); 2] {
    [started(database).await, started(database).await]
}

async fn started(database: &Database) -> (Dps, Control) {
    let dps = replica(database.client(), with_control).await;
    let control = Control::of(&dps);
    (dps, control)
}

/// Waits until the answer is as expected.
async fn until(control: &Control, path: &str, expected: impl Fn(&Value) -> bool) -> Value {
    let answer = async {
        loop {
            let answer = control.get(path).await;
            if answer.status == 200 && expected(&answer.json()) {
                return answer.json();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, answer).await.expect(path)
}

#[tokio::test]
async fn the_clock_is_that_of_all_replicas_also_of_one_that_starts_later() {
    let database = Database::default();
    let [(_one, first), (_other, second)] = replicas(&database).await;
    let advanced = first
        .send("POST", "/clock/advance", &json!({ "seconds": 7200 }))
        .await;
    assert_eq!(advanced.status, 200, "{advanced:?}");
    let is_ahead = |clock: &Value| clock["offsetSeconds"] == 7200;
    until(&second, "/clock", is_ahead).await;
    let (_late, third) = started(&database).await;
    until(&third, "/clock", is_ahead).await;
    let reset = third
        .send("POST", "/reset", &json!({ "kinds": ["clock"] }))
        .await;
    assert_eq!(reset.status, 204, "{reset:?}");
    until(&first, "/clock", |clock| clock["offsetSeconds"] == 0).await;
}

#[tokio::test]
async fn the_count_of_a_fault_is_that_of_all_replicas_together() {
    let database = Database::default();
    let [(one, first), (other, second)] = replicas(&database).await;
    one.enroll("dev-1").await;
    let fault = json!({ "step": "register", "effect": "fail", "status": 503, "count": 3 });
    let added = first.send("POST", "/faults", &fault).await;
    assert_eq!(added.status, 201, "{added:?}");
    let is_there = |faults: &Value| faults["faults"].as_array().is_some_and(|it| it.len() == 1);
    until(&second, "/faults", is_there).await;
    let (late, third) = started(&database).await;
    until(&third, "/faults", is_there).await;

    let mut statuses = Vec::new();
    for dps in [&one, &other, &late, &one, &other, &late] {
        statuses.push(dps.device("dev-1").key(KEY_1).register().await.status);
    }
    assert_eq!(statuses, [503, 503, 503, 202, 202, 202]);

    let added = second.send("POST", "/faults", &fault).await;
    let id = added.json()["id"].clone();
    until(&first, "/faults", is_there).await;
    let removed = first
        .send("DELETE", &format!("/faults/{id}"), &json!({}))
        .await;
    assert_eq!(removed.status, 204, "{removed:?}");
    let registered = other.device("dev-1").key(KEY_1).register().await;
    assert_eq!(
        registered.status, 202,
        "a removed fault is not applied anywhere"
    );
    let cleared = third.send("DELETE", "/faults", &json!({})).await;
    assert_eq!(cleared.status, 204, "{cleared:?}");
    assert_eq!(database.count(Table::Faults).await, 0);
}

#[tokio::test]
async fn a_recording_has_the_exchanges_of_all_replicas() {
    let database = Database::default();
    let [(one, first), (other, second)] = replicas(&database).await;
    let on = json!({ "recording": true });
    assert_eq!(first.send("POST", "/recording", &on).await.status, 200);
    until(&second, "/recording", |it| it["recording"] == true).await;
    one.enroll("dev-1").await;
    other.device("dev-1").key(KEY_1).assigned().await;
    let (late, third) = started(&database).await;
    until(&third, "/recording", |it| it["recording"] == true).await;
    late.device("dev-1").key(KEY_1).lookup().await;

    let has_all = |recording: &Value| {
        let exchanges = recording["exchanges"].as_array().expect("a list");
        let methods: Vec<&str> = exchanges
            .iter()
            .filter_map(|it| it["method"].as_str())
            .collect();
        methods.first() == Some(&"PUT") && methods.last() == Some(&"POST") && methods.len() >= 4
    };
    until(&first, "/recording", has_all).await;
    until(&second, "/recording", has_all).await;
    let off = json!({ "recording": false });
    assert_eq!(second.send("POST", "/recording", &off).await.status, 200);
    until(&first, "/recording", |it| it["recording"] == false).await;
    assert_eq!(
        third.send("DELETE", "/recording", &json!({})).await.status,
        204
    );
    let gone = async {
        while first.get("/recording").await.status != 404 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, gone)
        .await
        .expect("no replica has the recording");
}
