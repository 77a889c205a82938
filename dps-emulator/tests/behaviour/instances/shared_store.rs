//! Emulators that share a store find each other's instances.

use std::sync::Arc;

use dps_emulator::store::{Expected, MemoryStore, Store, Table};

use super::resources::{description, hub_description, resource};
use super::{create, enroll, name, wire};
use crate::common::{Answer, Dps, KEY_1, Wire};

async fn pair() -> (Dps, Dps) {
    let store = Arc::new(MemoryStore::new());
    let one = Dps::start_with(|builder| builder.store(store.clone())).await;
    let two = Dps::start_with(|builder| builder.store(store)).await;
    (one, two)
}

/// The same operator at the other emulator.
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

#[tokio::test]
async fn an_instance_is_found_by_every_emulator() {
    let (one, two) = pair().await;
    let (instance, at_one) = create(&one, "suite-1").await;
    let at_two = at(&two, &at_one);
    // By the key, before it was used in any other way.
    enroll(&at_two, "dev-1", KEY_1).await;
    at_two.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(at_one.get("/registrations/dev-1").await.status, 200);
    let found = two.emulator.instance(&name("suite-1")).await.expect("read");
    let found = found.expect("found");
    assert_eq!(wire(&two, &found).service_key, at_one.service_key);

    // A name that one emulator has given is taken at the other.
    let taken = two.emulator.create_instance(name("suite-1")).await;
    assert!(taken.is_err());
    instance.delete().await.expect("deleted");
    let refused = at_two.device("dev-1").key(KEY_1).lookup().await;
    refused.assert_error(401_002, "Unauthorized");
    assert_eq!(at_two.get("/enrollments/dev-1").await.status, 401);
}

#[tokio::test]
async fn a_change_takes_effect_at_every_emulator() {
    let (one, two) = pair().await;
    let put = |dps: &Dps, hubs: &[&str]| {
        let hubs: Vec<_> = hubs.iter().map(|hub| hub_description(hub)).collect();
        let request = resource(dps, "PUT", "suite-1", "");
        Answer::to(request.json(&description(&hubs)))
    };
    let created = put(&one, &["hub-a"]).await;
    assert_eq!(created.status, 201, "{created:?}");
    let instance = one.emulator.instance(&name("suite-1")).await.expect("read");
    let at_one = wire(&one, &instance.expect("created"));
    let at_two = at(&two, &at_one);
    enroll(&at_two, "dev-1", KEY_1).await;
    let state = at_two.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-a");
    let changed = put(&one, &["hub-b"]).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let state = at_two.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-b");
}

#[tokio::test]
async fn an_instance_that_cannot_be_read_does_not_affect_the_others() {
    let store = Arc::new(MemoryStore::new());
    let dps = Dps::start_with(|builder| builder.store(store.clone())).await;
    let (_, one) = create(&dps, "suite-1").await;
    let (two, _) = create(&dps, "suite-2").await;
    let key = format!("id-scope/{}", two.id_scope().as_str().to_ascii_lowercase());
    let put = store.put(Table::Instances, &key, Expected::Anything, b"{".to_vec());
    assert!(put.await.expect("written"));
    let names = dps.emulator.instance_names().await.expect("listed");
    assert_eq!(names, [name("suite-1")]);
    dps.emulator.shutdown().await;
    let dps = Dps::start_with(|builder| builder.store(store)).await;
    let again = at(&dps, &one);
    enroll(&again, "dev-1", KEY_1).await;
    again.device("dev-1").key(KEY_1).assigned().await;
    let damaged = Wire::of_scope(&again, two.id_scope().as_str());
    let answer = damaged.device("dev-1").key(KEY_1).register().await;
    assert_eq!(answer.status, 500, "{answer:?}");
}
