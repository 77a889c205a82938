//! MQTT: wills, which a server publishes after it has lost the client. A will has no effect on another device.

use serde_json::json;
use tokio::time::{Duration, sleep, timeout};

use super::hub_service::{HUB, with_two_devices};
use crate::common::{
    Client, Connect, DESIRED, Dps, KEY_1, KEY_3, PINGREQ, PINGRESP, TIMEOUT, Transport,
};

/// A reserved packet type: the server must close the connection, and a will would be published.
const RESERVED: &[u8] = b"\xF0\x00";

/// Topics and messages of the wills of `dev-2`.
const WILLS: [(&str, &str, &[u8]); 12] = [
    (
        "telemetry of the target",
        "devices/dev-1/messages/events/",
        b"forged",
    ),
    (
        "telemetry of the target with a property",
        "devices/dev-1/messages/events/a=b",
        b"forged",
    ),
    (
        "telemetry of an encoded target",
        "devices/dev%2D1/messages/events/",
        b"forged",
    ),
    (
        "telemetry of a module of the target",
        "devices/dev-1/modules/m/messages/events/",
        b"forged",
    ),
    (
        "telemetry after a path up",
        "devices/dev-2/../dev-1/messages/events/",
        b"forged",
    ),
    (
        "a cloud-to-device message to the target",
        "devices/dev-1/messages/devicebound/",
        b"forged",
    ),
    (
        "a reported property",
        "$iothub/twin/PATCH/properties/reported/?$rid=1",
        b"{\"forged\":true}",
    ),
    (
        "a desired property",
        "$iothub/twin/PATCH/properties/desired/?$version=9",
        b"{\"forged\":true}",
    ),
    (
        "a direct method",
        "$iothub/methods/POST/forged/?$rid=1",
        b"{}",
    ),
    (
        "a registration",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
        b"{}",
    ),
    (
        "a registration of the target",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
        b"{\"registrationId\":\"dev-1\"}",
    ),
    (
        "an answer to a registration",
        "$dps/registrations/res/200/?$rid=1",
        b"{\"status\":\"assigned\"}",
    ),
];

#[tokio::test]
async fn no_will_at_a_hub_is_published() {
    let dps = with_two_devices().await;
    let api = dps.hub_api(HUB);
    let version = async |id| api.twin(id).await["version"].clone();
    let before = [version("dev-1").await, version("dev-2").await];
    let mut target = dps.mqtt().await;
    target
        .connect(&Connect::to_hub_with_key(HUB, "dev-1", KEY_1))
        .await;
    for filter in [
        "devices/dev-1/messages/devicebound/#",
        DESIRED,
        "$iothub/methods/POST/#",
    ] {
        target.listen(filter).await;
    }
    for (name, topic, message) in WILLS {
        let connect = Connect::to_hub_with_key(HUB, "dev-2", KEY_3).will(topic, message);
        breaks_the_protocol(dps.mqtt().await, &connect).await;
        breaks_the_protocol(dps.websocket().await, &connect).await;
        disappears(&dps, dps.mqtt().await, &connect).await;
        disappears(&dps, dps.websocket().await, &connect).await;

        for id in ["dev-1", "dev-2"] {
            assert_eq!(dps.hub(HUB).telemetry_count(id), 0, "{name}: {id}");
        }
        let after = [version("dev-1").await, version("dev-2").await];
        assert_eq!(after, before, "{name}");
        // The target has received nothing before the answer.
        target.send(PINGREQ).await;
        target.expect(PINGRESP).await;
    }
}

#[tokio::test]
async fn no_will_at_the_provisioning_endpoint_registers_a_device() {
    let dps = super::mqtt_connects::with_two_devices().await;
    for (name, topic, message) in WILLS {
        let connect = Connect::with_key("dev-2", KEY_3).will(topic, message);
        breaks_the_protocol(dps.mqtt().await, &connect).await;
        breaks_the_protocol(dps.websocket().await, &connect).await;
        for id in ["dev-1", "dev-2"] {
            let found = dps.get(&format!("/registrations/{id}")).await;
            assert_eq!(found.status, 404, "{name}: {id}: {found:?}");
        }
    }
    // The client itself is served.
    let mut client = dps.mqtt().await;
    let (_, topic, message) = WILLS[9];
    client
        .connect(&Connect::with_key("dev-2", KEY_3).will(topic, message))
        .await;
    client.subscribe().await;
    assert_eq!(client.provision().await["status"], json!("assigned"));
}

/// Connects, and sends a packet for which the server closes the connection.
async fn breaks_the_protocol<C: Transport>(mut client: Client<C>, connect: &Connect) {
    client.connect(connect).await;
    client.send(RESERVED).await;
    while client.transport_answer().await.is_some() {}
}

/// Connects to the hub, and ends the connection without DISCONNECT.
async fn disappears<C: Transport>(dps: &Dps, mut client: Client<C>, connect: &Connect) {
    client.connect(connect).await;
    drop(client);
    let lost = async {
        while dps.hub(HUB).is_connected("dev-2") {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, lost).await.expect("the hub notices it");
}
