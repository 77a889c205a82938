//! An operation is carried out once, at whichever replica: also if the one that accepted it dies or is slow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dps_emulator::EmulatorBuilder;
use dps_emulator::store::Table;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{replica, replicas, soon};
use crate::common::{Database, Hook, KEY_1, KEY_2, TIMEOUT, key_enrollment, linked, with};

#[tokio::test]
async fn a_registration_is_polled_at_another_replica_than_the_one_that_accepted_it() {
    let [one, other] = replicas(&Database::default()).await;
    one.enroll("dev-1").await;
    let accepted = other.device("dev-1").key(KEY_1).register().await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let document = one
        .device("dev-1")
        .key(KEY_1)
        .finish(&operation(&accepted.json()))
        .await;
    assert_eq!(document["status"], "assigned");
}

#[tokio::test]
async fn the_operations_of_a_replica_that_died_are_taken_over() {
    let database = Database::default();
    let dying = replica(database.client(), |builder| {
        soon(builder).assign_delay(Duration::from_secs(3600))
    })
    .await;
    let living = replica(database.client(), soon).await;
    let devices: Vec<String> = (0..20).map(|number| format!("dev-{number}")).collect();
    let mut operations = Vec::new();
    for id in &devices {
        living.enroll(id).await;
        let accepted = dying.device(id).key(KEY_1).register().await;
        operations.push(operation(&accepted.json()));
    }
    assert_eq!(database.count(Table::Operations).await, 20);
    drop(dying);
    for (id, operation) in devices.iter().zip(&operations) {
        let document = living.device(id).key(KEY_1).finish(operation).await;
        assert_eq!(document["status"], "assigned");
        assert_eq!(document["operationId"], **operation);
    }
    assert_eq!(database.count(Table::Operations).await, 0);
    assert_eq!(database.count(Table::Hubs).await, 20);
}

#[tokio::test]
async fn a_replica_that_stops_in_order_leaves_its_operations_at_once() {
    let database = Database::default();
    let stopping = replica(database.client(), |builder| {
        builder.assign_delay(Duration::from_secs(3600))
    })
    .await;
    let living = replica(database.client(), |builder| builder).await;
    living.enroll("dev-1").await;
    let accepted = stopping.device("dev-1").key(KEY_1).register().await;
    stopping.emulator.shutdown().await;
    assert_eq!(database.count(Table::Replicas).await, 1);
    let document = living
        .device("dev-1")
        .key(KEY_1)
        .finish(&operation(&accepted.json()))
        .await;
    assert_eq!(document["status"], "assigned");
}

#[tokio::test]
async fn a_slow_replica_does_not_write_the_result_of_an_operation_that_was_taken_over() {
    let calls = AtomicUsize::new(0);
    let hook = Hook::start(move |_| {
        let hub = match calls.fetch_add(1, Ordering::SeqCst) {
            0 => "hub-a",
            _ => "hub-b",
        };
        Some((200, json!({ "iotHubHostName": hub }).to_string()))
    })
    .await;
    let database = Database::default();
    let slow_client = database.client();
    let slow = replica(slow_client.clone(), two_hubs).await;
    let by_webhook = json!({
        "allocationPolicy": "custom",
        "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
    });
    let document = with(key_enrollment("dev-1", KEY_1, KEY_2), by_webhook);
    slow.create("/enrollments/dev-1", &document).await;

    slow_client.slow_down();
    let accepted = slow.device("dev-1").key(KEY_1).register().await;
    let operation = operation(&accepted.json());
    hook.asked(1).await;
    let quick = replica(database.client(), two_hubs).await;
    let document = quick.device("dev-1").key(KEY_1).finish(&operation).await;
    assert_eq!(document["registrationState"]["assignedHub"], "hub-b");
    hook.asked(2).await;
    slow_client.speed_up();

    // The slow replica works again when its heartbeat is there.
    let both = async {
        while database.count(Table::Replicas).await < 2 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, both).await.expect("two heartbeats");
    let device = slow.device("dev-1").key(KEY_1);
    assert_eq!(device.lookup().await.json()["assignedHub"], "hub-b");
    for hub in ["hub-a", "hub-b"] {
        let devices = quick.hub(hub).devices().await.expect("read");
        assert_eq!(devices.len(), usize::from(hub == "hub-b"), "{hub}");
    }
    // It serves the device's next registration.
    assert_eq!(device.assigned().await["assignedHub"], "hub-b");
}

fn two_hubs(builder: EmulatorBuilder) -> EmulatorBuilder {
    soon(builder)
        .link_hub(linked("hub-a"))
        .link_hub(linked("hub-b"))
}

fn operation(accepted: &Value) -> String {
    let operation = accepted["operationId"].as_str();
    operation.expect("an operation id").to_owned()
}
