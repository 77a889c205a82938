//! A device that registers again: the documented matrix, and its effects.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::common::linked;
use crate::common::{Device, Dps, Hook, KEY_1, KEY_2, key_enrollment, with};

/// Two hubs, a webhook whose choice can be changed, and a device.
struct Setup {
    dps: Dps,
    choice: Arc<Mutex<&'static str>>,
    hook: Hook,
    device: Device,
}

impl Setup {
    async fn with(policy: Value) -> Self {
        let dps =
            Dps::start_with(|builder| builder.link_hub(linked("hub-a")).link_hub(linked("hub-b")))
                .await;
        let choice = Arc::new(Mutex::new("hub-a"));
        let chosen = Arc::clone(&choice);
        let hook = Hook::start(move |_| {
            let hub = *chosen.lock().expect("not poisoned");
            Some((
                200,
                json!({ "iotHubHostName": hub, "payload": hub }).to_string(),
            ))
        })
        .await;
        let fields = json!({
            "allocationPolicy": "custom",
            "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
        });
        let document = with(key_enrollment("dev-1", KEY_1, KEY_2), with(fields, policy));
        dps.create("/enrollments/dev-1", &document).await;
        let device = dps.device("dev-1").key(KEY_1);
        Self {
            dps,
            choice,
            hook,
            device,
        }
    }

    fn choose(&self, hub: &'static str) {
        *self.choice.lock().expect("not poisoned") = hub;
    }

    async fn hub_and_substatus(&self) -> (String, String) {
        let state = self.device.assigned().await;
        let text = |name: &str| state[name].as_str().expect("text").to_owned();
        (text("assignedHub"), text("substatus"))
    }

    async fn expect(&self, hub: &str, substatus: &str) {
        assert_eq!(
            self.hub_and_substatus().await,
            (hub.to_owned(), substatus.to_owned())
        );
    }
}

fn policy(update: bool, migrate: bool) -> Value {
    json!({ "reprovisionPolicy": { "updateHubAssignment": update, "migrateDeviceData": migrate } })
}

#[tokio::test]
async fn migrate_moves_the_device_with_its_data() {
    for policy in [policy(true, true), json!({})] {
        let setup = Setup::with(policy).await;
        setup.expect("hub-a", "initialAssignment").await;
        setup
            .expect("hub-a", "reprovisionedToInitialAssignment")
            .await;
        setup.choose("hub-b");
        setup.expect("hub-b", "deviceDataMigrated").await;
        setup
            .expect("hub-b", "reprovisionedToInitialAssignment")
            .await;
    }
}

#[tokio::test]
async fn reset_moves_the_device_without_its_data() {
    let setup = Setup::with(policy(true, false)).await;
    setup.expect("hub-a", "initialAssignment").await;
    setup.choose("hub-b");
    setup.expect("hub-b", "deviceDataReset").await;
    setup
        .expect("hub-b", "reprovisionedToInitialAssignment")
        .await;
}

#[tokio::test]
async fn never_keeps_the_device_and_offers_the_webhook_only_its_hub() {
    for policy in [policy(false, false), policy(false, true)] {
        let setup = Setup::with(policy).await;
        setup.expect("hub-a", "initialAssignment").await;
        setup
            .expect("hub-a", "reprovisionedToInitialAssignment")
            .await;
        let asked = setup.hook.asked(2).await;
        assert_eq!(asked[0].body["linkedHubs"], json!(["hub-a", "hub-b"]));
        assert_eq!(asked[1].body["linkedHubs"], json!(["hub-a"]));
    }
}

#[tokio::test]
async fn never_refuses_a_webhook_that_moves_the_device() {
    let setup = Setup::with(policy(false, false)).await;
    setup.expect("hub-a", "initialAssignment").await;
    setup.choose("hub-b");
    let (code, message) = setup.device.failed().await;
    assert_eq!(code, 400_207);
    assert_eq!(
        message,
        "Custom allocation failed: the webhook chose hub-b, which is not one of the linked hubs (hub-a)"
    );
}

#[tokio::test]
async fn never_keeps_a_device_whose_enrollment_now_names_another_hub() {
    let dps =
        Dps::start_with(|builder| builder.link_hub(linked("hub-a")).link_hub(linked("hub-b")))
            .await;
    let enrollment = |hub: &str| {
        let fields = json!({ "allocationPolicy": "static", "iotHubs": [hub] });
        with(
            key_enrollment("dev-1", KEY_1, KEY_2),
            with(fields, policy(false, false)),
        )
    };
    dps.create("/enrollments/dev-1", &enrollment("hub-a")).await;
    let device = dps.device("dev-1").key(KEY_1);
    device.assigned().await;
    dps.put_if("/enrollments/dev-1", "*", &enrollment("hub-b"))
        .await;
    let state = device.assigned().await;
    assert_eq!(state["assignedHub"], "hub-a");
    assert_eq!(state["substatus"], "reprovisionedToInitialAssignment");
}

#[tokio::test]
async fn a_client_from_before_reprovisioning_stays_where_it_is() {
    let setup = Setup::with(json!({})).await;
    setup.expect("hub-a", "initialAssignment").await;
    let old = setup.device.clone().version("2018-04-01");
    let state = old.assigned().await;
    assert_eq!(state["assignedHub"], "hub-a");
    assert_eq!(
        setup.hook.asked(2).await[1].body["linkedHubs"],
        json!(["hub-a"])
    );
}

#[tokio::test]
async fn a_policy_counts_for_old_clients_too() {
    let setup = Setup::with(policy(true, true)).await;
    setup.expect("hub-a", "initialAssignment").await;
    setup.choose("hub-b");
    let old = setup.device.clone().version("2018-04-01");
    let state = old.assigned().await;
    assert_eq!(state["assignedHub"], "hub-b");
    assert_eq!(state["substatus"], "deviceDataMigrated");
}

#[tokio::test]
async fn after_its_registration_is_deleted_a_device_registers_as_a_new_one() {
    let setup = Setup::with(policy(false, false)).await;
    setup.expect("hub-a", "initialAssignment").await;
    assert_eq!(setup.dps.delete("/registrations/dev-1").await.status, 204);
    setup.choose("hub-b");
    setup.expect("hub-b", "initialAssignment").await;
}

#[tokio::test]
async fn a_device_keeps_its_registration_while_its_enrollment_is_away() {
    let setup = Setup::with(policy(true, true)).await;
    setup.expect("hub-a", "initialAssignment").await;
    let document = setup.dps.get("/enrollments/dev-1").await.json();
    setup.dps.delete("/enrollments/dev-1").await;
    assert_eq!(setup.device.register().await.status, 401);
    let kept = setup.dps.get("/registrations/dev-1").await.json();
    assert_eq!(kept["status"], "assigned");

    let again = with(
        document,
        json!({ "attestation": key_enrollment("dev-1", KEY_1, KEY_2)["attestation"] }),
    );
    setup.dps.create("/enrollments/dev-1", &again).await;
    setup
        .expect("hub-a", "reprovisionedToInitialAssignment")
        .await;
}

#[tokio::test]
async fn a_device_that_is_disabled_shows_so_and_comes_back_where_it_was() {
    let setup = Setup::with(policy(true, true)).await;
    let first = setup.device.assigned().await;
    let set = async |status: &str| {
        let read = setup.dps.get("/enrollments/dev-1").await.json();
        let document = with(read, json!({ "provisioningStatus": status }));
        setup.dps.put_if("/enrollments/dev-1", "*", &document).await;
    };
    set("disabled").await;
    assert_eq!(setup.device.register().await.json()["status"], "disabled");
    let stored = setup.dps.get("/registrations/dev-1").await.json();
    assert_eq!(stored["status"], "disabled");
    assert_eq!(stored["createdDateTimeUtc"], first["createdDateTimeUtc"]);
    assert_ne!(stored["etag"], first["etag"]);
    set("enabled").await;
    setup
        .expect("hub-a", "reprovisionedToInitialAssignment")
        .await;
}
