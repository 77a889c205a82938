//! Credentials and topics of other devices at a hub.

use dps_emulator::CloudToDeviceMessage;
use serde_json::json;

use crate::common::{
    Connect, Dps, FOREVER, KEY_1, KEY_2, KEY_3, NOT_AUTHORIZED, PINGREQ, PINGRESP, hub_token,
    key_enrollment, publish, subscribe, token, unix_now,
};

const HUB: &str = "127.0.0.1";

async fn with_two_devices() -> Dps {
    let dps = Dps::start().await;
    for (id, key) in [("dev-1", KEY_1), ("dev-2", KEY_3)] {
        let document = key_enrollment(id, key, KEY_2);
        dps.create(&format!("/enrollments/{id}"), &document).await;
        dps.device(id).key(key).assigned().await;
    }
    dps
}

fn forgeries(dps: &Dps) -> Vec<(&'static str, String)> {
    let of = |hub: &str, id: &str, key: &str| hub_token(hub, id, key, FOREVER);
    vec![
        ("the key of another device", of(HUB, "dev-1", KEY_3)),
        ("the token of another device", of(HUB, "dev-2", KEY_3)),
        ("the resource of another device", of(HUB, "dev-2", KEY_1)),
        ("a longer device id", of(HUB, "dev-10", KEY_1)),
        ("a shorter device id", of(HUB, "dev-", KEY_1)),
        ("another hub", of("other.azure-devices.net", "dev-1", KEY_1)),
        ("the whole hub with the device's key", {
            hub_token(HUB, "", KEY_1, FOREVER).replace("%2Fdevices%2F", "")
        }),
        (
            "a module of the device",
            of(HUB, "dev-1%2Fmodules%2Fm", KEY_1),
        ),
        ("a registration token", token("dev-1", KEY_1)),
        (
            "an expired token",
            hub_token(HUB, "dev-1", KEY_1, unix_now() - 600),
        ),
        (
            "an operator's token of DPS",
            dps.service_sas().sign(&dps.service_key),
        ),
        ("an operator's token of the hub with a device's key", {
            let api = dps.hub_api(HUB);
            api.sas().sign(KEY_1)
        }),
        ("the key", KEY_1.to_owned()),
        ("nothing", String::new()),
    ]
}

#[tokio::test]
async fn no_forged_token_connects_a_device() {
    let dps = with_two_devices().await;
    for (name, token) in forgeries(&dps) {
        let connect = Connect::to_hub(HUB, "dev-1").password(&token);
        let mut client = dps.mqtt().await;
        client.send(&connect.bytes()).await;
        client.expect(NOT_AUTHORIZED).await;
        client.closed().await;
        let mut client = dps.websocket().await;
        client.send(&connect.bytes()).await;
        client.expect(NOT_AUTHORIZED).await;
        client.closed().await;
        assert!(!dps.hub(HUB).is_connected("dev-1"), "{name}");
    }
    let genuine = Connect::to_hub_with_key(HUB, "dev-1", KEY_1);
    dps.mqtt().await.connect(&genuine).await;
}

/// A device reads and writes only its own topics.
#[tokio::test]
async fn no_topic_reaches_another_device() {
    let dps = with_two_devices().await;
    let hub = dps.hub(HUB);
    for topic in [
        "devices/dev-2/messages/events/",
        "devices/DEV-2/messages/events/",
        "devices/dev-1/../dev-2/messages/events/",
        "devices/dev-1%2F..%2Fdev-2/messages/events/",
        "devices//messages/events/",
        "devices/+/messages/events/",
        "devices/#",
        "devices/dev-2/modules/m/messages/events/",
        "devices/dev-2/messages/devicebound/",
        "/devices/dev-1/messages/events/",
        "$iothub/twin/PATCH/properties/desired/?$rid=1",
        "$iothub/methods/POST/reboot/?$rid=1",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
        "$SYS/broker",
    ] {
        let mut client = dps.at_hub().await;
        client.send(&publish(5, topic, b"{}")).await;
        client.closed().await;
        assert_eq!(hub.telemetry_count("dev-2"), 0, "{topic}");
    }
    for filter in [
        "devices/dev-2/messages/devicebound/#",
        "devices/#",
        "#",
        "+/#",
        "$iothub/#",
        "$dps/registrations/res/#",
        "$SYS/#",
    ] {
        let mut client = dps.at_hub().await;
        client.send(&subscribe(6, &[(filter, 1)])).await;
        // SUBACK with the failure 0x80 (MQTT 3.1.1, section 3.9.3), or the end of the connection.
        let answer = client.transport_answer().await;
        let refused = answer
            .as_deref()
            .is_none_or(|bytes| bytes == b"\x90\x03\x00\x06\x80");
        assert!(refused, "{filter}: {answer:?}");
    }
    // Some clients subscribe with a wildcard. They receive their own messages only.
    let mut client = dps.at_hub().await;
    client.listen("devices/+/messages/devicebound/#").await;
    let message = CloudToDeviceMessage::new("for dev-2");
    hub.send_message("dev-2", &message).await.expect("queued");
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;

    let patch = json!({ "properties": { "desired": { "secret": 1 } } });
    hub.update_twin("dev-2", patch).await.expect("updated");
    let mut client = dps.at_hub().await;
    assert!(client.twin().await["desired"].get("secret").is_none());
}
