//! Which hub the ready-made policies choose.

use std::collections::HashMap;

use dps_emulator::{DefaultAllocation, Emulator, EmulatorBuilder, ErrorKind};
use serde_json::{Value, json};

use crate::common::{Dps, Hook, KEY_1, KEY_2, derive, key_enrollment, key_group, with};
use crate::common::{latency, linked};

async fn with_hubs(hubs: &[&str]) -> Dps {
    Dps::start_with(|builder| {
        hubs.iter()
            .fold(builder, |builder, hub| builder.link_hub(linked(hub)))
    })
    .await
}

async fn enroll(dps: &Dps, fields: Value) {
    let document = with(key_enrollment("dev-1", KEY_1, KEY_2), fields);
    dps.create("/enrollments/dev-1", &document).await;
}

/// The number of these devices at each hub.
async fn spread(dps: &Dps, devices: usize) -> HashMap<String, usize> {
    let mut hubs = HashMap::new();
    for number in 0..devices {
        let id = format!("d{number}");
        let state = dps.device(&id).key(&derive(KEY_1, &id)).assigned().await;
        let hub = state["assignedHub"].as_str().expect("text").to_owned();
        *hubs.entry(hub).or_default() += 1;
    }
    hubs
}

#[tokio::test]
async fn static_goes_to_the_one_hub_of_the_enrollment() {
    let dps = with_hubs(&["hub-a", "hub-b", "hub-c"]).await;
    enroll(
        &dps,
        json!({ "allocationPolicy": "static", "iotHubs": ["hub-b"] }),
    )
    .await;
    let state = dps.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-b");
}

#[tokio::test]
async fn static_without_hubs_goes_to_the_one_linked_hub() {
    let dps = with_hubs(&["hub-a"]).await;
    enroll(&dps, json!({ "allocationPolicy": "static" })).await;
    let state = dps.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-a");
}

#[tokio::test]
async fn static_without_hubs_does_not_choose_among_several() {
    let dps = with_hubs(&["hub-a", "hub-b"]).await;
    enroll(&dps, json!({ "allocationPolicy": "static" })).await;
    assert_eq!(
        dps.device("dev-1").key(KEY_1).failed().await,
        (
            400_208,
            "The static allocation policy requires one IoT hub, but several are linked.".to_owned()
        )
    );
}

#[tokio::test]
async fn the_old_name_of_the_one_hub_is_understood() {
    let dps = with_hubs(&["hub-a", "hub-b"]).await;
    enroll(&dps, json!({ "iotHubHostName": "hub-b" })).await;
    let state = dps.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-b");
}

#[tokio::test]
async fn without_a_policy_devices_are_spread_over_all_hubs() {
    let dps = with_hubs(&["hub-a", "hub-b"]).await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let hubs = spread(&dps, 30).await;
    assert_eq!(hubs.len(), 2, "{hubs:?}");
    assert!(hubs.values().all(|devices| *devices >= 5), "{hubs:?}");
}

#[tokio::test]
async fn evenly_weighted_spreads_by_weight() {
    let dps = with_hubs(&["hub-a=1", "hub-b=1000"]).await;
    let group = with(
        key_group("g", KEY_1, KEY_2),
        json!({ "allocationPolicy": "hashed" }),
    );
    dps.create("/enrollmentGroups/g", &group).await;
    let hubs = spread(&dps, 30).await;
    assert!(hubs["hub-b"] >= 28, "{hubs:?}");
}

#[tokio::test]
async fn evenly_weighted_keeps_to_the_enrollments_hubs_and_to_its_choice() {
    let dps = with_hubs(&["hub-a", "hub-b", "hub-c"]).await;
    for policy in ["hashed", "geoLatency"] {
        let group = with(
            key_group("g", KEY_1, KEY_2),
            json!({ "allocationPolicy": policy, "iotHubs": ["hub-a", "hub-c"] }),
        );
        dps.delete("/enrollmentGroups/g").await;
        dps.create("/enrollmentGroups/g", &group).await;
        let hubs = spread(&dps, 20).await;
        assert_eq!(hubs.len(), 2, "{hubs:?}");
        assert_eq!(hubs.get("hub-b"), None);
        assert_eq!(spread(&dps, 20).await, hubs, "each device where it was");
    }
}

#[tokio::test]
async fn the_device_id_in_the_hub_is_that_of_the_enrollment_or_the_registration_id() {
    let dps = Dps::start().await;
    enroll(&dps, json!({ "deviceId": "Toaster#1_(kitchen)" })).await;
    let state = dps.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["deviceId"], "Toaster#1_(kitchen)");
    let plain = key_enrollment("Dev:2", KEY_1, KEY_2);
    dps.create("/enrollments/dev%3A2", &plain).await;
    let state = dps.device("Dev:2").key(KEY_1).assigned().await;
    assert_eq!(state["deviceId"], "Dev:2");
}

#[tokio::test]
async fn a_renamed_device_has_its_new_name_from_the_next_registration() {
    let dps = Dps::start().await;
    enroll(&dps, json!({ "deviceId": "toaster" })).await;
    let device = dps.device("dev-1").key(KEY_1);
    assert_eq!(device.assigned().await["deviceId"], "toaster");
    let renamed = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({ "deviceId": "oven" }),
    );
    dps.put_if("/enrollments/dev-1", "*", &renamed).await;
    assert_eq!(device.lookup().await.json()["deviceId"], "toaster");
    assert_eq!(device.assigned().await["deviceId"], "oven");
}

#[tokio::test]
async fn a_deleted_enrollment_fails_the_registration_in_progress() {
    let dps =
        Dps::start_with(|builder| builder.assign_delay(std::time::Duration::from_millis(300)))
            .await;
    enroll(&dps, json!({})).await;
    let device = dps.device("dev-1").key(KEY_1);
    assert_eq!(device.register().await.status, 202);
    dps.delete("/enrollments/dev-1").await;
    let over = async {
        loop {
            let state = dps.get("/registrations/dev-1").await.json();
            if state["status"] != "assigning" {
                return state;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let state = tokio::time::timeout(crate::common::TIMEOUT, over).await;
    let state = state.expect("it ends");
    assert_eq!(state["status"], "failed");
    assert_eq!(state["errorCode"], 404_201);
    assert_eq!(state["errorMessage"], "The enrollment was deleted.");
}

#[tokio::test]
async fn a_hub_without_policies_is_for_those_who_name_it() {
    let dps = with_hubs(&["hub-a", "hub-b,no-policy"]).await;
    for policy in [json!("hashed"), json!("geoLatency"), Value::Null] {
        let group = with(
            key_group("g", KEY_1, KEY_2),
            json!({ "allocationPolicy": policy }),
        );
        dps.delete("/enrollmentGroups/g").await;
        dps.create("/enrollmentGroups/g", &group).await;
        let hubs = spread(&dps, 20).await;
        assert_eq!(
            hubs,
            HashMap::from([("hub-a".to_owned(), 20)]),
            "{policy:?}"
        );
    }
    enroll(
        &dps,
        json!({ "allocationPolicy": "static", "iotHubs": ["hub-b"] }),
    )
    .await;
    let state = dps.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-b");
}

#[tokio::test]
async fn a_webhook_may_choose_a_hub_without_policies() {
    let dps = with_hubs(&["hub-a", "hub-b,no-policy"]).await;
    let hook = Hook::saying(200, r#"{"iotHubHostName":"HUB-B"}"#).await;
    let custom = json!({
        "allocationPolicy": "custom",
        "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
    });
    enroll(&dps, custom).await;
    let state = dps.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-b", "as it was linked");
    assert_eq!(
        hook.asked(1).await[0].body["linkedHubs"],
        json!(["hub-a", "hub-b"])
    );
}

#[tokio::test]
async fn hashed_among_hubs_without_policies_has_no_choice() {
    let dps = with_hubs(&["hub-a", "hub-b,no-policy"]).await;
    enroll(
        &dps,
        json!({ "allocationPolicy": "hashed", "iotHubs": ["hub-b"] }),
    )
    .await;
    let message = "None of the linked IoT hubs is allowed by the enrollment.".to_owned();
    let failed = dps.device("dev-1").key(KEY_1).failed().await;
    assert_eq!(failed, (400_208, message));
}

#[tokio::test]
async fn lowest_latency_uses_the_region_that_the_device_names() {
    let dps = Dps::start_with(|builder| {
        let hubs = ["hub-a", "hub-b", "hub-c=1000"];
        let builder = hubs
            .iter()
            .fold(builder, |it, hub| it.link_hub(linked(hub)));
        let lines = ["emea/hub-a=10", "emea/hub-b=90", "us/hub-b=10", "hub-c=5"];
        lines
            .iter()
            .fold(builder, |it, line| it.latencies([latency(line)]))
    })
    .await;
    let latency = json!({ "allocationPolicy": "geoLatency" });
    let group = with(key_group("g", KEY_1, KEY_2), latency);
    dps.create("/enrollmentGroups/g", &group).await;
    for (number, (payload, hub)) in [
        (json!({ "region": "emea" }), "hub-a"),
        (json!({ "region": "us" }), "hub-b"),
        (json!({ "region": "moon" }), "hub-c"),
        (json!({}), "hub-c"),
        (Value::Null, "hub-c"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("d{number}");
        let device = dps.device(&id).key(&derive(KEY_1, &id));
        let body = json!({ "registrationId": id, "payload": payload });
        let document = device.provision_with(body).await;
        let state = &document["registrationState"];
        assert_eq!(state["assignedHub"], hub, "{payload}");
    }
}

#[tokio::test]
async fn hubs_that_are_equally_near_share_by_weight() {
    let dps = Dps::start_with(|builder| {
        let builder = builder
            .link_hub(linked("hub-a=1"))
            .link_hub(linked("hub-b=1000"))
            .link_hub(linked("hub-c=1000"));
        builder
            .latencies([latency("hub-a=10")])
            .latencies([latency("hub-b=10")])
            .latencies([latency("hub-c=11")])
    })
    .await;
    let latency = json!({ "allocationPolicy": "geoLatency" });
    let group = with(key_group("g", KEY_1, KEY_2), latency);
    dps.create("/enrollmentGroups/g", &group).await;
    let hubs = spread(&dps, 30).await;
    assert!(hubs["hub-b"] >= 28, "{hubs:?}");
    assert_eq!(hubs.get("hub-c"), None);
}

#[tokio::test]
async fn the_instances_policy_is_for_enrollments_without_one() {
    for (policy, hub) in [
        (DefaultAllocation::GeoLatency, Some("hub-b")),
        (DefaultAllocation::Static, None),
    ] {
        let dps = Dps::start_with(|builder| {
            let builder = builder
                .link_hub(linked("hub-a=1000"))
                .link_hub(linked("hub-b"));
            builder
                .latencies([latency("hub-b=1")])
                .default_allocation(policy)
        })
        .await;
        enroll(&dps, json!({})).await;
        let document = dps.device("dev-1").key(KEY_1).provision().await;
        let state = &document["registrationState"];
        match hub {
            Some(hub) => assert_eq!(state["assignedHub"], hub, "{policy:?}"),
            None => assert_eq!(state["errorCode"], 400_208, "{policy:?}"),
        }
        dps.delete("/enrollments/dev-1").await;
        let own = json!({ "allocationPolicy": "static", "iotHubs": ["hub-a"] });
        enroll(&dps, own).await;
        let state = dps.device("dev-1").key(KEY_1).assigned().await;
        assert_eq!(state["assignedHub"], "hub-a", "{policy:?}");
    }
}

#[tokio::test]
async fn a_latency_of_a_hub_that_is_not_linked_is_refused_at_the_start() {
    let start = |choose: fn(EmulatorBuilder) -> EmulatorBuilder| {
        choose(Emulator::builder().link_hub(linked("hub-a"))).start()
    };
    let refused = start(|builder| builder.latencies([latency("hub-b=1")])).await;
    let error = refused.expect_err("not linked");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(
        error.to_string(),
        "a latency is set for the hub hub-b, which is not linked"
    );
}
