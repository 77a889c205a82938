//! Instances that are created at one replica work at all of them.

use std::time::Duration;

use serde_json::json;

use super::{replica, replicas, soon};
use crate::common::{Client, Connect, DESIRED, Database, Dps, KEY_1, Tls, Wire, hub_token};
use crate::instances::{create, enroll, name};

const HUB: &str = "suite-1.azure-devices.net";

/// The same operator and devices at another replica.
fn at(dps: &Dps, wire: &Wire) -> Wire {
    let Wire {
        policy,
        service_key,
        scope,
        ..
    } = wire;
    dps.by(&format!(
        "SharedAccessKeyName={policy};SharedAccessKey={service_key}"
    ))
    .of_scope(scope)
}

async fn at_hub(dps: &Dps) -> Client<Tls> {
    let mut client = dps.mqtt().await;
    let password = hub_token(HUB, "dev-1", KEY_1, crate::common::FOREVER);
    let username = format!("{HUB}/dev-1/?api-version=2021-04-12");
    let connect = Connect::of("dev-1").username(&username).password(&password);
    client.connect(&connect).await;
    client
}

#[tokio::test]
async fn the_operations_of_an_instance_are_taken_over() {
    let database = Database::default();
    let dying = replica(database.client(), |builder| {
        soon(builder).assign_delay(Duration::from_secs(3600))
    })
    .await;
    let living = replica(database.client(), soon).await;
    let (instance, at_dying) = create(&dying, "suite-1").await;
    enroll(&at_dying, "dev-1", KEY_1).await;
    let accepted = at_dying.device("dev-1").key(KEY_1).register().await;
    let operation = accepted.json()["operationId"].clone();
    drop((instance, dying));
    let device = at(&living, &at_dying).device("dev-1").key(KEY_1);
    let document = device.finish(operation.as_str().expect("text")).await;
    assert_eq!(document["status"], "assigned");
    assert_eq!(document["registrationState"]["assignedHub"], HUB);
}

#[tokio::test]
async fn a_device_of_an_instance_has_one_connection_at_any_replica() {
    let [one, other] = replicas(&Database::default()).await;
    let (_, at_one) = create(&one, "suite-1").await;
    enroll(&at_one, "dev-1", KEY_1).await;
    at_one.device("dev-1").key(KEY_1).assigned().await;
    let mut first = at_hub(&one).await;
    let mut second = at_hub(&other).await;
    first.closed().await;

    // A change at one replica reaches the device at the other.
    second.listen(DESIRED).await;
    let instance = one.emulator.instance(&name("suite-1")).await.expect("read");
    let instance = instance.expect("created");
    let hub = instance.hub(HUB).expect("linked");
    let changed = hub.update_desired("dev-1", json!({ "a": 1 })).await;
    changed.expect("the device is there");
    let (_, packet) = second.packet().await;
    let text = String::from_utf8_lossy(&packet).into_owned();
    assert!(text.contains(r#""a":1"#), "{text}");

    // Deleting the instance at one replica ends the connection at the other.
    assert!(instance.delete().await.expect("deleted"));
    second.closed().await;
    let found = other.emulator.instance(&name("suite-1")).await;
    assert!(found.expect("read").is_none());
    assert_eq!(count_at(&other).await, 0);
}

/// The number of instances at a replica.
async fn count_at(dps: &Dps) -> usize {
    dps.emulator.instance_names().await.expect("listed").len()
}
