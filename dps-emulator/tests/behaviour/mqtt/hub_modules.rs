//! Modules of a device: their identities, connections, twins, telemetry and methods.

use serde_json::{Value, json};

use crate::common::{
    Client, Connect, Dps, KEY_1, NOT_AUTHORIZED, RESPONSES, Tls, publish, subscribe,
};

const MODULE: &str = "/devices/dev-1/modules/mod-1";
const MODULE_KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUY=";

async fn with_module() -> Dps {
    let dps = Dps::with_assigned(Value::Null).await;
    let document = json!({
        "deviceId": "dev-1",
        "moduleId": "mod-1",
        "authentication": {
            "type": "sas", "symmetricKey": { "primaryKey": MODULE_KEY },
        },
    });
    let request = dps.hub_request("PUT", MODULE).json(&document);
    let (status, _, created) = dps.ask_hub(request).await;
    assert_eq!((status, &created["moduleId"]), (201, &json!("mod-1")));
    dps
}

async fn at_hub(dps: &Dps) -> Client<Tls> {
    let mut client = dps.mqtt().await;
    client
        .connect(&Connect::to_hub_as_module("mod-1", MODULE_KEY))
        .await;
    client.listen(RESPONSES).await;
    client
}

#[tokio::test]
async fn a_module_and_its_device_are_connected_at_the_same_time() {
    let dps = with_module().await;
    let mut device = dps.at_hub().await;
    let mut module = at_hub(&dps).await;
    assert!(dps.default_hub().is_connected("dev-1"));
    assert!(dps.default_hub().is_connected("dev-1/mod-1"));
    device.report(&json!({ "by": "device" })).await;
    module.report(&json!({ "by": "module" })).await;
    assert_eq!(device.twin().await["reported"]["by"], "device");
    assert_eq!(module.twin().await["reported"]["by"], "module");

    let topic = "devices/dev-1/modules/mod-1/messages/events/a=b";
    module.send(&publish(5, topic, b"1")).await;
    module.expect(b"\x40\x02\x00\x05").await;
    assert_eq!(dps.default_hub().telemetry_count("dev-1"), 0);
    let kept = dps.default_hub().telemetry("dev-1/mod-1");
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].module_id().expect("a module").as_str(), "mod-1");
    let method = kept[0].system_property("iothub-connection-auth-method");
    assert!(method.expect("stamped").contains("\"scope\":\"module\""));
}

#[tokio::test]
async fn the_twin_of_a_module_is_changed_by_a_back_end() {
    let dps = with_module().await;
    let mut module = at_hub(&dps).await;
    module.listen(crate::common::DESIRED).await;
    let patch = json!({ "tags": { "t": 1 }, "properties": { "desired": { "x": 2 } } });
    let request = dps.hub_request("PATCH", "/twins/dev-1/modules/mod-1");
    let (status, _, twin) = dps.ask_hub(request.json(&patch)).await;
    assert_eq!((status, &twin["moduleId"]), (200, &json!("mod-1")));
    assert_eq!(twin["tags"], json!({ "t": 1 }));
    assert_eq!(
        module.response().await.json(),
        json!({ "x": 2, "$version": 2 })
    );
    let device = dps.default_hub().twin("dev-1").await.expect("a twin");
    assert_eq!(device["properties"]["desired"].get("x"), None);
}

#[tokio::test]
async fn a_method_of_a_module_is_invoked() {
    let dps = with_module().await;
    let mut module = at_hub(&dps).await;
    let filters = [
        ("$iothub/methods/POST/#", 0),
        ("devices/dev-1/modules/mod-1/#", 1),
        ("devices/dev-1/messages/devicebound/#", 1),
    ];
    module.send(&subscribe(3, &filters)).await;
    module.expect(b"\x90\x05\x00\x03\x00\x01\x80").await;
    let path = "/twins/dev-1/modules/mod-1/methods";
    let request = dps.hub_request("POST", path);
    let request = request.json(&json!({ "methodName": "ping" }));
    let (answer, ()) = tokio::join!(dps.ask_hub(request), async {
        let request = module.response().await;
        assert_eq!(request.topic, "$iothub/methods/POST/ping/?$rid=1");
        let topic = "$iothub/methods/res/200/?$rid=1";
        module.send(&publish(4, topic, b"\"pong\"")).await;
        module.expect(b"\x40\x02\x00\x04").await;
    });
    assert_eq!(answer.2, json!({ "status": 200, "payload": "pong" }));
}

#[tokio::test]
async fn a_module_is_refused_with_other_credentials() {
    let dps = with_module().await;
    for connect in [
        // The key of its device.
        Connect::to_hub_as_module("mod-1", KEY_1),
        Connect::to_hub_as_module("mod-2", MODULE_KEY),
        // The token of its device.
        Connect::to_hub_as_module("mod-1", MODULE_KEY).password(&crate::common::hub_token(
            "127.0.0.1",
            "dev-1",
            KEY_1,
            crate::common::FOREVER,
        )),
    ] {
        let mut client = dps.mqtt().await;
        client.send(&connect.bytes()).await;
        client.expect(NOT_AUTHORIZED).await;
        client.closed().await;
    }
}

#[tokio::test]
async fn a_module_ends_with_its_device() {
    let dps = with_module().await;
    let hub = dps.default_hub();
    let mut module = at_hub(&dps).await;
    hub.set_enabled("dev-1", false).await.expect("disabled");
    module.closed().await;
    let mut client = dps.mqtt().await;
    let connect = Connect::to_hub_as_module("mod-1", MODULE_KEY);
    client.send(&connect.bytes()).await;
    client.expect(NOT_AUTHORIZED).await;
    hub.set_enabled("dev-1", true).await.expect("enabled");

    let mut module = at_hub(&dps).await;
    hub.remove("dev-1").await.expect("removed");
    module.closed().await;
    dps.still_serves().await;
    let (status, _, modules) = dps
        .ask_hub(dps.hub_request("GET", "/devices/dev-1/modules"))
        .await;
    assert_eq!((status, modules), (200, json!([])));
}

#[tokio::test]
async fn modules_are_listed_and_removed() {
    let dps = with_module().await;
    let (_, _, modules) = dps
        .ask_hub(dps.hub_request("GET", "/devices/dev-1/modules"))
        .await;
    assert_eq!(modules[0]["moduleId"], "mod-1", "{modules}");
    assert_eq!(modules[0]["authentication"]["type"], "sas", "{modules}");
    let mut module = at_hub(&dps).await;
    let remove = dps.hub_request("DELETE", MODULE).header("If-Match", "*");
    assert_eq!(dps.ask_hub(remove).await.0, 204);
    module.closed().await;
    let (status, _, missing) = dps.ask_hub(dps.hub_request("GET", MODULE)).await;
    assert_eq!(status, 404);
    assert_eq!(
        missing["Message"],
        "ErrorCode:ModuleNotFound;Module dev-1/mod-1 is not registered"
    );
    // The device is still there.
    dps.at_hub().await.twin().await;
}
