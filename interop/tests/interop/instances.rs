//! Microsoft's client for the control plane creates, changes and deletes an instance.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::emulator::{Emulator, HTTPS_PORT};
use crate::program::Program;

const DEADLINE: Duration = Duration::from_secs(90);

#[tokio::test]
#[ignore = "needs azure-mgmt-iothubprovisioningservices: scripts/test interop"]
async fn an_instance_lives() {
    let options = ["--bearer-token", "contributor=entra"];
    let emulator = Emulator::start_with(HTTPS_PORT, &options).await;
    let asked = json!({ "endpoint": "https://localhost", "token": "entra", "name": "suite-1" });
    let script = Program::Python
        .script("instances", emulator.ca_pem())
        .env("REQUESTS_CA_BUNDLE", emulator.ca_pem())
        .arg(asked.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE, script).await.expect("in time").unwrap();
    assert!(output.status.success(), "{}", output.status);
    let mut report: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let id_scope = report["created"]["idScope"].take();
    assert!(id_scope.as_str().is_some_and(|it| it.starts_with("0ne")));
    assert_ne!(id_scope, emulator.id_scope());
    assert_eq!(
        report,
        json!({
            "availableBefore": true,
            "availableAfter": false,
            "created": {
                "name": "suite-1",
                "state": "Active",
                "provisioningState": "Succeeded",
                "idScope": null,
                "host": "suite-1.azure-devices-provisioning.net",
                "tags": { "suite": "nightly" },
            },
            "keys": ["provisioningserviceowner"],
            "sameKey": true,
            "hubs": ["hub-a.azure-devices.net", "hub-b.azure-devices.net"],
            "tags": { "suite": "daily" },
            "skus": ["S1"],
            "ofGroup": ["suite-1"],
            "ofSubscription": ["suite-1"],
            "groups": ["suite-1"],
            "afterDelete": 404,
            "otherToken": 401,
        })
    );
    emulator.stop().await;
}
