//! Devices and modules that a back end creates in a hub.

use serde_json::{Value, json};

use crate::common::{Answer, Dps, HubApi, KEY_1, KEY_2, with};

async fn hub() -> (Dps, HubApi) {
    let dps = Dps::start().await;
    let api = dps.hub_api("127.0.0.1");
    (dps, api)
}

fn device(id: &str) -> Value {
    json!({
        "deviceId": id,
        "status": "enabled",
        "authentication": {
            "type": "sas", "symmetricKey": { "primaryKey": KEY_1, "secondaryKey": KEY_2 },
        },
    })
}

async fn update(api: &HubApi, path: &str, etag: &str, document: &Value) -> Answer {
    let request = api.request("PUT", path).header("If-Match", etag);
    Answer::to(request.json(document)).await
}

#[tokio::test]
async fn a_device_is_created_once() {
    let (_dps, api) = hub().await;
    let created = api.send("PUT", "/devices/dev-1", &device("dev-1")).await;
    assert_eq!(created.status, 200, "{created:?}");
    let keys = &created.json()["authentication"]["symmetricKey"];
    assert_eq!(keys["primaryKey"], KEY_1);
    assert_eq!(api.get("/devices/dev-1").await.json(), created.json());
    assert_eq!(api.twin("dev-1").await["version"], 2);
    let again = api.send("PUT", "/devices/dev-1", &device("dev-1")).await;
    assert_eq!(again.status, 409);
    let name = again.header("iothub-errorcode");
    assert_eq!(name, Some("DeviceAlreadyExists"));
}

#[tokio::test]
async fn a_device_is_updated_if_its_etag_matches() {
    let (_dps, api) = hub().await;
    let created = api.send("PUT", "/devices/dev-1", &device("dev-1")).await;
    let etag = created.header("etag").expect("an ETag").to_owned();
    let disabled = with(device("dev-1"), json!({ "status": "disabled" }));
    let updated = update(&api, "/devices/dev-1", &etag, &disabled).await;
    assert_eq!(updated.status, 200, "{updated:?}");
    assert_eq!(updated.json()["status"], "disabled");
    assert_eq!(
        updated.json()["generationId"],
        created.json()["generationId"]
    );
    let late = update(&api, "/devices/dev-1", &etag, &disabled).await;
    assert_eq!(late.status, 412, "{late:?}");
    // Without keys the device keeps those it has.
    let plain = json!({ "deviceId": "dev-1" });
    let kept = update(&api, "/devices/dev-1", "*", &plain).await.json();
    assert_eq!(kept["authentication"], created.json()["authentication"]);
    assert_eq!(kept["status"], "enabled");
    let missing = update(&api, "/devices/dev-2", "*", &device("dev-2")).await;
    assert_eq!(missing.status, 404, "{missing:?}");
}

#[tokio::test]
async fn keys_are_made_and_thumbprints_are_required() {
    let (_dps, api) = hub().await;
    let plain = json!({ "deviceId": "dev-1" });
    let created = api.send("PUT", "/devices/dev-1", &plain).await.json();
    let keys = &created["authentication"]["symmetricKey"];
    let [primary, secondary] = ["primaryKey", "secondaryKey"].map(|name| keys[name].as_str());
    assert!(primary.is_some() && secondary.is_some(), "{created}");
    assert_ne!(primary, secondary);
    let with_thumbprint = |thumbprint: &str| {
        json!({
            "deviceId": "dev-2",
            "authentication": {
                "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": thumbprint },
            },
        })
    };
    for thumbprint in ["", "ab", &"g".repeat(64)] {
        let refused = api
            .send("PUT", "/devices/dev-2", &with_thumbprint(thumbprint))
            .await;
        assert_eq!(refused.status, 400, "{refused:?}");
    }
    let document = with_thumbprint(&"ab".repeat(32));
    let created = api.send("PUT", "/devices/dev-2", &document).await.json();
    let thumbprints = &created["authentication"]["x509Thumbprint"];
    assert_eq!(thumbprints["primaryThumbprint"], "AB".repeat(32));
}

#[tokio::test]
async fn documents_that_are_not_valid() {
    let (_dps, api) = hub().await;
    for document in [
        json!({}),
        json!({ "deviceId": "dev-2" }),
        json!({ "deviceId": "dev-1", "status": "asleep" }),
        json!({ "deviceId": "dev-1", "authentication": { "type": "certificateAuthoritie" } }),
        json!({ "deviceId": "dev-1", "authentication": { "type": "sas", "symmetricKey": { "primaryKey": "%" } } }),
    ] {
        let refused = api.send("PUT", "/devices/dev-1", &document).await;
        assert_eq!(refused.status, 400, "{document}: {refused:?}");
    }
    assert_eq!(api.get("/devices/dev-1").await.status, 404);
}

#[tokio::test]
async fn a_module_requires_its_device_and_their_number_is_limited() {
    let (_dps, api) = hub().await;
    let module = |id: &str| json!({ "deviceId": "dev-1", "moduleId": id, "managedBy": "iotEdge" });
    let orphan = api
        .send("PUT", "/devices/dev-1/modules/m", &module("m"))
        .await;
    assert_eq!(orphan.header("iothub-errorcode"), Some("DeviceNotFound"));
    api.send("PUT", "/devices/dev-1", &device("dev-1")).await;
    let put = async |path: &str, id: &str| {
        let path = format!("/devices/dev-1/modules/{path}");
        api.send("PUT", &path, &module(id)).await
    };
    let remove = async |id: &str| {
        let path = format!("/devices/dev-1/modules/{id}");
        Answer::to(api.request("DELETE", &path)).await.status
    };
    for number in 0..50 {
        let id = format!("m{number}");
        let created = put(&id, &id).await;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(created.json()["managedBy"], "iotEdge");
    }
    assert_eq!(put("m", "m").await.status, 400, "the 51st");
    assert_eq!(put("m", "n").await.status, 400, "other ids in the body");
    assert_eq!(remove("m0").await, 204);
    assert_eq!(remove("m1").await, 204);
    assert_eq!(put("m0", "m0").await.status, 201);
    let again = put("m0", "m0").await;
    let name = again.header("iothub-errorcode");
    assert_eq!(name, Some("ModuleAlreadyExistsOnDevice"));
}
