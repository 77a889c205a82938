//! Concurrent requests: each device is assigned, and none waits for the webhook of another.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::common::linked;
use crate::common::{
    Device, Dps, Hook, KEY_1, KEY_2, TIMEOUT, derive, key_enrollment, key_group, with,
};

fn by(url: &str) -> Value {
    json!({
        "allocationPolicy": "custom",
        "customAllocationDefinition": { "webhookUrl": url, "apiVersion": "2021-10-01" },
    })
}

async fn three_hubs() -> Dps {
    Dps::start_with(|builder| {
        builder
            .link_hub(linked("hub-a"))
            .link_hub(linked("hub-b"))
            .link_hub(linked("hub-c"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_devices_at_once() {
    let dps = three_hubs().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let mut devices = JoinSet::new();
    for number in 0..50 {
        let id = format!("d{number}");
        let device = dps.device(&id).key(&derive(KEY_1, &id));
        devices.spawn(async move { (id, device.assigned().await) });
    }
    let done = timeout(TIMEOUT, devices.join_all()).await.expect("in time");
    assert_eq!(done.len(), 50);
    for (id, state) in &done {
        assert_eq!(state["registrationId"], *id);
        assert_eq!(state["substatus"], "initialAssignment");
    }
    let hubs: HashSet<&str> = done
        .iter()
        .filter_map(|(_, it)| it["assignedHub"].as_str())
        .collect();
    assert_eq!(hubs.len(), 3, "{hubs:?}");
}

/// Registers as one of many clients of the same device. After a conflict it registers again, and an operation
/// that a later registration has replaced makes it look up the device.
async fn contend(device: Device) -> Value {
    let operation = loop {
        let answer = device.register().await;
        match answer.status {
            202 => break answer.json()["operationId"].clone(),
            _ => answer.assert_error(409_203, "Precondition failed."),
        }
    };
    loop {
        let poll = device.poll(operation.as_str().expect("text")).await;
        let state = match poll.status {
            200 => poll.json()["registrationState"].clone(),
            202 => json!({ "status": "assigning" }),
            _ => {
                poll.assert_error(404_001, "Operation not found.");
                device.lookup().await.json()
            }
        };
        if state["status"] != "assigning" {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_twenty_times_at_once() {
    let dps = three_hubs().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let device = dps.device("d").key(&derive(KEY_1, "d"));
    let mut tries = JoinSet::new();
    for _ in 0..20 {
        tries.spawn(contend(device.clone()));
    }
    let done = timeout(TIMEOUT, tries.join_all()).await.expect("in time");
    let hubs: HashSet<String> = done
        .iter()
        .map(|state| {
            assert_eq!(state["status"], "assigned", "{state}");
            state["assignedHub"].to_string()
        })
        .collect();
    assert_eq!(hubs.len(), 1, "{hubs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_at_once_begin_one_operation() {
    let dps = Dps::start_with(|builder| builder.assign_delay(Duration::from_secs(600))).await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    for number in 0..10 {
        let id = format!("d{number}");
        let device = dps.device(&id).key(&derive(KEY_1, &id));
        let mut tries = JoinSet::new();
        for _ in 0..10 {
            let device = device.clone();
            tries.spawn(async move { device.register().await });
        }
        let mut operations = HashSet::new();
        for answer in tries.join_all().await {
            match answer.status {
                202 => _ = operations.insert(answer.json()["operationId"].to_string()),
                _ => answer.assert_error(409_203, "Precondition failed."),
            }
        }
        assert_eq!(operations.len(), 1, "{operations:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_while_one_is_in_progress_share_its_operation() {
    let dps = Dps::start().await;
    let hook = Hook::start(|_| None).await;
    let enrollment = with(key_enrollment("d", KEY_1, KEY_2), by(&hook.url));
    dps.create("/enrollments/d", &enrollment).await;
    let device = dps.device("d").key(KEY_1);
    let first = device.register().await.json()["operationId"].clone();
    hook.asked(1).await;
    for _ in 0..5 {
        let again = device.register().await;
        assert_eq!((again.status, &again.json()["operationId"]), (202, &first));
    }
    assert_eq!(hook.asked(1).await.len(), 1, "the webhook is asked once");
}

#[tokio::test]
async fn a_slow_webhook_holds_up_its_own_devices_only() {
    let dps = Dps::start().await;
    let hook = Hook::start(|_| None).await;
    let slow = with(key_group("slow", KEY_1, KEY_1), by(&hook.url));
    dps.create("/enrollmentGroups/slow", &slow).await;
    dps.create("/enrollmentGroups/fast", &key_group("fast", KEY_2, KEY_2))
        .await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        let id = format!("slow-{number}");
        let device = dps.device(&id).key(&derive(KEY_1, &id));
        let operation = device.register().await.json()["operationId"].clone();
        waiting.push((device, operation));
    }
    hook.asked(20).await;
    for number in 0..20 {
        let id = format!("fast-{number}");
        dps.device(&id).key(&derive(KEY_2, &id)).assigned().await;
    }
    for (device, operation) in waiting {
        let answer = device.poll(operation.as_str().expect("text")).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_creators_of_one_enrollment_one_wins() {
    let dps = Dps::start().await;
    let mut creators = JoinSet::new();
    for _ in 0..20 {
        let request = dps.service("PUT", "/enrollments/e");
        let request = request.json(&key_enrollment("e", KEY_1, KEY_2));
        creators.spawn(crate::common::Answer::to(request));
    }
    let mut statuses: Vec<u16> = creators
        .join_all()
        .await
        .iter()
        .map(|it| it.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert_eq!(statuses[1..], [409; 19]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_and_devices_at_once() {
    let dps = Dps::start().await;
    let mut all = JoinSet::new();
    for number in 0..20 {
        let wire = (*dps).clone();
        all.spawn(async move {
            let id = format!("d{number}");
            let path = format!("/enrollments/{id}");
            wire.create(&path, &key_enrollment(&id, KEY_1, KEY_2)).await;
            wire.device(&id).key(KEY_1).assigned().await;
            let read = wire.get(&path).await.json();
            assert_eq!(read["registrationState"]["status"], "assigned");
            assert_eq!(wire.delete(&path).await.status, 204);
            assert_eq!(wire.device(&id).key(KEY_1).register().await.status, 401);
            assert_eq!(wire.get(&format!("/registrations/{id}")).await.status, 200);
        });
    }
    timeout(TIMEOUT, all.join_all()).await.expect("in time");
}
