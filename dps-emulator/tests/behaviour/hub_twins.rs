//! Changes of a twin through the library.

use dps_emulator::ErrorKind;
use serde_json::{Value, json};

use crate::common::{Dps, KEY_1, KEY_2, key_enrollment};

/// An emulator with an assigned device.
async fn assigned() -> Dps {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    dps
}

#[tokio::test]
async fn desired_properties_and_tags_are_patched() {
    let dps = assigned().await;
    let hub = dps.hub("127.0.0.1");
    hub.update_desired("dev-1", json!({ "a": { "b": 1, "c": 2 } }))
        .await
        .expect("patched");
    hub.update_desired("dev-1", json!({ "a": { "b": null }, "d": [1] }))
        .await
        .expect("patched");
    hub.update_twin("dev-1", json!({ "tags": { "site": "kitchen" } }))
        .await
        .expect("patched");
    let device = hub
        .device("dev-1")
        .await
        .expect("read")
        .expect("registered");
    assert_eq!(
        json!(device.desired()),
        json!({ "a": { "c": 2 }, "d": [1] })
    );
    assert_eq!(json!(device.tags()), json!({ "site": "kitchen" }));
    assert_eq!(
        (device.desired_version(), device.reported_version()),
        (3, 1)
    );
    let twin = hub.twin("dev-1").await.expect("read");
    assert_eq!(twin["properties"]["desired"]["$version"], 3);
    assert_eq!(
        (&twin["version"], &twin["etag"]),
        (&json!(5), &json!("AAAAAAAAAAQ="))
    );
}

#[tokio::test]
async fn a_patch_that_exceeds_a_limit_changes_nothing() {
    let dps = assigned().await;
    let hub = dps.hub("127.0.0.1");
    let large: Value = (0..9)
        .map(|n| (format!("t{n}"), json!("x".repeat(4000))))
        .collect();
    for patch in [
        json!({ "properties": { "desired": large } }),
        json!({ "tags": { "a": "x".repeat(4000), "b": "x".repeat(4000), "c": "x".repeat(4000) } }),
        json!({ "tags": { "a b": 1 } }),
        json!({ "tags": [] }),
        json!({ "properties": { "desired": 7 } }),
        json!([]),
    ] {
        let error = hub
            .update_twin("dev-1", patch.clone())
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidTwin, "{patch}");
    }
    let device = hub
        .device("dev-1")
        .await
        .expect("read")
        .expect("registered");
    assert!(device.desired().is_empty() && device.tags().is_empty());
    assert_eq!(device.desired_version(), 1);
}

#[tokio::test]
async fn concurrent_changes_are_all_made() {
    let dps = assigned().await;
    let hub = dps.hub("127.0.0.1");
    let mut changes = tokio::task::JoinSet::new();
    for number in 0..20 {
        let hub = hub.clone();
        changes.spawn(async move {
            let patch = json!({ format!("n{number}"): number });
            hub.update_desired("dev-1", patch).await
        });
    }
    while let Some(changed) = changes.join_next().await {
        changed.expect("no panic").expect("patched");
    }
    let device = hub
        .device("dev-1")
        .await
        .expect("read")
        .expect("registered");
    assert_eq!((device.desired().len(), device.desired_version()), (20, 21));
}
