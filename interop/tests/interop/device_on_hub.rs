//! A device registers, connects to its assigned hub, and exchanges twin changes with a back end.

use serde_json::{Value, json};

use crate::client::{Client, Outcome};
use crate::emulator::{Emulator, HTTPS_PORT, LOCALHOST};
use crate::hub::{HubDevice, HubOperator};
use crate::scenario::{Expected, Proof, Scenario};

/// The device reads its twin, reports properties, and receives a change of the desired properties.
pub(crate) async fn twin(client: &Client, scenario: impl FnOnce() -> Scenario) {
    let (emulator, scenario, id) = enrolled(scenario).await;
    let mut device = HubDevice::start(client, &emulator, &scenario);
    scenario.check(client, &device.register().await);
    scenario.check_record(&emulator).await;

    // The device identity exists before the device connects.
    let mut operator = HubOperator::start(&emulator, LOCALHOST);
    let identity = operator.device(id).await.expect("an identity");
    assert_eq!(identity["deviceId"], id);
    assert_eq!(identity["status"], "enabled");
    assert_eq!(identity["connectionState"], "Disconnected");
    assert_proof(&scenario.proof, &identity["authentication"]);

    device.connect().await.expect("a connection");
    let twin = device.twin().await.expect("a twin");
    let desired = json!({ "darkness": "medium", "$version": 1 });
    assert_eq!(
        twin,
        json!({ "desired": desired, "reported": { "$version": 1 } })
    );

    let report = device.report(json!({ "temperature": 21, "slots": { "left": "bread" } }));
    report.await.expect("the hub accepts the report");
    let twin = operator.twin(id).await.expect("a twin");
    assert_eq!(twin["connectionState"], "Connected", "{twin}");
    assert_eq!(twin["tags"], json!({ "floor": "ground" }), "{twin}");
    assert_eq!(content(&twin, "desired"), desired);
    let reported = json!({ "temperature": 21, "slots": { "left": "bread" }, "$version": 2 });
    assert_eq!(content(&twin, "reported"), reported);

    let patch = json!({ "tags": { "floor": "first" }, "properties": { "desired": { "darkness": "high", "warm": true } } });
    let before = twin["etag"].as_str().expect("an ETag").to_owned();
    let twin = operator.patch(id, &patch, &before).await;
    assert_eq!(
        twin.expect("a twin")["tags"],
        json!({ "floor": "first" }),
        "the answer is the twin as it is now"
    );
    let desired = json!({ "darkness": "high", "warm": true, "$version": 2 });
    assert_eq!(device.desired().await.expect("a patch"), desired);
    let twin = device.twin().await.expect("a twin");
    assert_eq!(twin, json!({ "desired": desired, "reported": reported }));

    // A stale ETag is refused, and an unknown device has no twin.
    let late = operator.patch(id, &patch, &before).await;
    assert_eq!(late.expect_err("an old ETag").status, Some(412));
    let missing = operator.twin("missing").await;
    assert_eq!(missing.expect_err("no such device").status, Some(404));
    emulator.stop().await;
}

/// A device that was removed from its hub is refused there, registers again, and can connect again.
pub(crate) async fn removed(client: &Client, scenario: impl FnOnce() -> Scenario) {
    let (emulator, scenario, id) = enrolled(scenario).await;
    let mut device = HubDevice::start(client, &emulator, &scenario);
    scenario.check(client, &device.register().await);
    let mut operator = HubOperator::start(&emulator, LOCALHOST);
    operator.remove(id).await.expect("the device is removed");

    let refused = device.connect().await.expect_err("a removed device");
    assert_eq!(refused.name, "CredentialError", "{refused:?}");
    let again = device.register().await;
    assert!(
        matches!(&again, Outcome::Assigned { assigned_hub, .. } if assigned_hub == LOCALHOST),
        "{again:?}"
    );
    device.connect().await.expect("a connection");
    let twin = device.twin().await.expect("a twin");
    assert_eq!(twin["desired"]["darkness"], "medium", "{twin}");
    emulator.stop().await;
}

/// Starts an emulator with a hub that the clients can reach, and enrolls the device. Returns the device id.
async fn enrolled(scenario: impl FnOnce() -> Scenario) -> (Emulator, Scenario, &'static str) {
    let scenario = scenario().on_reachable_hub();
    let Expected::Assigned { device_id, .. } = scenario.expected else {
        panic!("the scenario has no assigned hub: {scenario:?}");
    };
    let emulator = Emulator::start_with(HTTPS_PORT, &["--hub", LOCALHOST]).await;
    scenario.enroll(&emulator).await;
    (emulator, scenario, device_id)
}

/// The hub has the credentials that the device registered with.
fn assert_proof(proof: &Proof, authentication: &Value) {
    match proof {
        Proof::Key(key) => {
            assert_eq!(authentication["type"], "sas");
            let primary = authentication["symmetricKey"]["primaryKey"].as_str();
            assert!(primary == Some(&*key.to_base64()), "another key");
        }
        Proof::Certificate(_) => {
            assert_eq!(authentication["type"], "selfSigned", "{authentication}");
            let thumbprints = &authentication["x509Thumbprint"];
            assert!(
                thumbprints["primaryThumbprint"].is_string(),
                "{thumbprints}"
            );
        }
        Proof::Tpm(_) => panic!("no client supports a TPM on a hub"),
    }
}

/// The properties of a twin without the metadata of the hub.
fn content(twin: &Value, collection: &str) -> Value {
    let mut content = twin["properties"][collection].clone();
    let fields = content.as_object_mut().expect("properties");
    assert!(fields.remove("$metadata").is_some(), "{twin}");
    content
}
