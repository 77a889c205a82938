//! Devices reach their instance by its id scope, and their hub by its name.

use serde_json::{Value, json};

use super::{create, enroll};
use crate::common::{
    Client, Connect, Dps, KEY_1, KEY_2, KEY_3, REGISTER, Sas, Tls, Wire, hub_token, tls,
};

/// CONNECT of a device that is enrolled in the instance.
fn connect(wire: &Wire, id: &str, key: &str) -> Connect {
    let scope = &wire.scope;
    let username = format!("{scope}/registrations/{id}/api-version=2019-03-31");
    let token = Sas::device(scope, id).sign(key);
    Connect::of(id).username(&username).password(&token)
}

async fn connected(dps: &Dps, wire: &Wire, id: &str, key: &str) -> Client<Tls> {
    let mut client = dps.mqtt().await;
    client.connect(&connect(wire, id, key)).await;
    client.subscribe().await;
    client
}

fn hub(document: &Value) -> &Value {
    &document["assignedHub"]
}

#[tokio::test]
async fn the_id_scope_decides_over_https() {
    let dps = Dps::with_device().await;
    let (_, one) = create(&dps, "suite-1").await;
    let (_, two) = create(&dps, "suite-2").await;
    enroll(&one, "dev-1", KEY_2).await;
    enroll(&two, "dev-1", KEY_3).await;
    let first = dps.device("dev-1").key(KEY_1).assigned().await;
    let at_one = one.device("dev-1").key(KEY_2).assigned().await;
    let at_two = two.device("dev-1").key(KEY_3).assigned().await;
    assert_eq!(hub(&first), "127.0.0.1");
    assert_eq!(hub(&at_one), "suite-1.azure-devices.net");
    assert_eq!(hub(&at_two), "suite-2.azure-devices.net");
    let elsewhere = two.device("dev-1").key(KEY_2).register().await;
    elsewhere.assert_error(401_002, "Unauthorized");
    let lower = one.of_scope(&one.scope.to_ascii_lowercase());
    let looked_up = lower.device("dev-1").key(KEY_2).lookup().await;
    assert_eq!(looked_up.json()["assignedHub"], "suite-1.azure-devices.net");
}

#[tokio::test]
async fn the_id_scope_decides_over_mqtt() {
    let dps = Dps::with_device().await;
    let (instance, wire) = create(&dps, "suite-1").await;
    enroll(&wire, "dev-1", KEY_2).await;
    let mut client = connected(&dps, &wire, "dev-1", KEY_2).await;
    let document = client.provision().await;
    let state = &document["registrationState"];
    assert_eq!(hub(state), "suite-1.azure-devices.net");
    let mut refused = dps.mqtt().await;
    let of_first = connect(&wire, "dev-1", KEY_3);
    assert!(!refused.try_connect(&of_first).await);

    // A client that stays connected notices that its instance is deleted.
    assert!(instance.delete().await.expect("deleted"));
    let response = client.ask(REGISTER, b"{}").await;
    response.assert_error(401_002, "Unauthorized");
}

#[tokio::test]
async fn a_device_connects_to_the_hub_of_its_instance() {
    let dps = Dps::start().await;
    let (one, wire) = create(&dps, "suite-1").await;
    enroll(&wire, "dev-1", KEY_2).await;
    wire.device("dev-1").key(KEY_2).assigned().await;
    let name = "suite-1.azure-devices.net";
    let hub = one.hub(name).expect("linked");
    let mut client = dps.mqtt().await;
    let username = format!("{name}/dev-1/?api-version=2021-04-12");
    let password = hub_token(name, "dev-1", KEY_2, crate::common::FOREVER);
    let connect = Connect::of("dev-1").username(&username).password(&password);
    client.connect(&connect).await;
    hub.update_desired("dev-1", json!({ "a": 1 }))
        .await
        .expect("the device is there");
    assert!(hub.is_connected("dev-1"));
    assert!(dps.emulator.hub(name).is_none());

    // Deleting the instance ends the connection.
    one.delete().await.expect("deleted");
    client.closed().await;
    assert!(!dps.mqtt().await.try_connect(&connect).await);
}

#[tokio::test]
async fn the_certificate_of_the_server_has_the_names_of_instances_and_hubs() {
    let dps = Dps::start().await;
    for name in [
        "suite-1.azure-devices-provisioning.net",
        "global.azure-devices-provisioning.net",
        "suite-1.azure-devices.net",
    ] {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], dps.port));
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(dps.emulator.ca_pem(), None))
            .resolve(name, address)
            .no_proxy()
            .build()
            .expect("a client");
        let answer = client
            .get(format!("https://{name}:{}/0ne/registrations/d", dps.port))
            .send()
            .await;
        assert_eq!(answer.expect("TLS").status(), 405, "{name}");
    }
}
