//! A hub's REST API, as `azure-iot-hub` for Python and a person with curl use it.

use serde_json::{Value, json};

use crate::common::linked;
use crate::common::{
    Answer, Dps, HubApi, KEY_1, KEY_2, assert_timestamp, key_enrollment, unix_now, with,
};

/// Two hubs; `hub-a` has the device.
async fn assigned() -> (Dps, HubApi) {
    let dps =
        Dps::start_with(|builder| builder.link_hub(linked("hub-a")).link_hub(linked("hub-b")))
            .await;
    enroll(&dps, "dev-1").await;
    let api = dps.hub_api("hub-a");
    (dps, api)
}

async fn enroll(dps: &Dps, id: &str) {
    let document = with(
        key_enrollment(id, KEY_1, KEY_2),
        json!({
            "allocationPolicy": "static",
            "iotHubs": ["hub-a"],
            "initialTwin": { "tags": { "site": "kitchen" }, "properties": { "desired": { "darkness": "medium" } } },
        }),
    );
    dps.create(&format!("/enrollments/{id}"), &document).await;
    dps.device(id).key(KEY_1).assigned().await;
}

#[track_caller]
fn assert_hub_error(answer: &Answer, status: u16, message: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["Message"], message, "{answer:?}");
    let tracking = body["ExceptionMessage"].as_str().expect("text");
    assert!(tracking.starts_with("Tracking ID:"), "{tracking}");
    let name = message.split([':', ';']).nth(1);
    assert_eq!(answer.header("iothub-errorcode"), name, "{answer:?}");
}

#[tokio::test]
async fn a_device_is_shown() {
    let (_dps, hub) = assigned().await;
    let answer = hub.get("/devices/dev-1").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut body = answer.json();
    let etag = body["etag"].take();
    let etag = etag.as_str().expect("text");
    assert_eq!(answer.header("etag"), Some(&*format!("\"{etag}\"")));
    let generation = body["generationId"].take();
    assert!(
        generation.as_str().is_some_and(|id| id.len() == 19),
        "{generation}"
    );
    assert_eq!(
        body,
        json!({
            "deviceId": "dev-1",
            "generationId": null,
            "etag": null,
            "connectionState": "Disconnected",
            "status": "enabled",
            "statusReason": null,
            "connectionStateUpdatedTime": "0001-01-01T00:00:00Z",
            "statusUpdatedTime": "0001-01-01T00:00:00Z",
            "lastActivityTime": "0001-01-01T00:00:00Z",
            "cloudToDeviceMessageCount": 0,
            "authentication": {
                "symmetricKey": { "primaryKey": KEY_1, "secondaryKey": KEY_2 },
                "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
                "type": "sas",
            },
            "capabilities": { "iotEdge": false },
        })
    );
}

#[tokio::test]
async fn a_twin_is_shown() {
    let (_dps, hub) = assigned().await;
    let answer = hub.get("/twins/dev-1").await;
    assert_eq!(answer.header("etag"), Some("\"AAAAAAAAAAE=\""));
    let mut body = answer.json();
    let device_etag = hub.get("/devices/dev-1").await.json()["etag"].take();
    assert_eq!(body["deviceEtag"].take(), device_etag);
    let written = body["properties"]["reported"]["$metadata"]["$lastUpdated"].take();
    assert_timestamp(&written);
    let stamp = json!({ "$lastUpdated": written, "$lastUpdatedVersion": 1 });
    assert_eq!(
        body,
        json!({
            "deviceId": "dev-1",
            "etag": "AAAAAAAAAAE=",
            "deviceEtag": null,
            "status": "enabled",
            "statusUpdateTime": "0001-01-01T00:00:00Z",
            "connectionState": "Disconnected",
            "lastActivityTime": "0001-01-01T00:00:00Z",
            "cloudToDeviceMessageCount": 0,
            "authenticationType": "sas",
            "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
            "modelId": "",
            "version": 2,
            "tags": { "site": "kitchen" },
            "properties": {
                "desired": {
                    "darkness": "medium",
                    "$metadata": with(stamp.clone(), json!({ "darkness": stamp })),
                    "$version": 1,
                },
                "reported": { "$metadata": { "$lastUpdated": null }, "$version": 1 },
            },
            "capabilities": { "iotEdge": false },
        })
    );
}

#[tokio::test]
async fn a_twin_is_patched_and_replaced() {
    let (_dps, hub) = assigned().await;
    let patch = json!({ "tags": { "floor": 3 }, "properties": { "desired": { "darkness": null, "x": 1 } } });
    let answer = hub.send("PATCH", "/twins/dev-1", &patch).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("etag"), Some("\"AAAAAAAAAAI=\""));
    let twin = answer.json();
    assert_eq!(twin["tags"], json!({ "site": "kitchen", "floor": 3 }));
    assert_eq!(twin["properties"]["desired"]["x"], 1);
    assert_eq!(twin["properties"]["desired"].get("darkness"), None);
    assert_eq!(twin["properties"]["desired"]["$version"], 2);

    // A document that was read can be written back, with the fields that only the hub writes.
    let changed = with(twin, json!({ "tags": { "only": true } }));
    let answer = hub.send("PUT", "/twins/dev-1", &changed).await;
    let twin = answer.json();
    assert_eq!(twin["tags"], json!({ "only": true }));
    assert_eq!(twin["properties"]["desired"]["x"], 1);
    assert_eq!(twin["properties"]["desired"]["$version"], 3);
    let answer = hub.send("PUT", "/twins/dev-1", &json!({})).await;
    let twin = answer.json();
    assert_eq!(twin.get("tags"), None);
    assert_eq!(twin["properties"]["desired"].get("x"), None);
    assert_eq!(twin, hub.twin("dev-1").await);
}

#[tokio::test]
async fn a_condition_must_hold() {
    let (_dps, hub) = assigned().await;
    let patch = async |etag: &str| {
        let request = hub
            .request("PATCH", "/twins/dev-1")
            .header("If-Match", etag);
        Answer::to(request.json(&json!({ "tags": { "n": 1 } }))).await
    };
    for good in ["\"AAAAAAAAAAE=\"", "\"*\"", "*", "AAAAAAAAAAQ="] {
        assert_eq!(patch(good).await.status, 200, "{good}");
    }
    assert_hub_error(
        &patch("\"AAAAAAAAAAE=\"").await,
        412,
        "ErrorCode:PreconditionFailed;Precondition failed: the device has another version",
    );
    assert_eq!(hub.twin("dev-1").await["etag"], "AAAAAAAAAAU=");
}

#[tokio::test]
async fn devices_are_listed_and_removed() {
    let (dps, hub) = assigned().await;
    for id in ["dev-3", "dev-2"] {
        enroll(&dps, id).await;
    }
    let ids = |answer: Answer| -> Vec<Value> {
        let devices = answer.json();
        let devices = devices.as_array().expect("a list");
        devices
            .iter()
            .map(|device| device["deviceId"].clone())
            .collect()
    };
    assert_eq!(ids(hub.get("/devices").await), ["dev-1", "dev-2", "dev-3"]);
    let top = dps
        .request("GET", "/devices?top=2&api-version=2021-04-12")
        .header("Authorization", hub.sas().sign(&hub.key));
    assert_eq!(ids(Answer::to(top).await), ["dev-1", "dev-2"]);
    assert!(ids(dps.hub_api("hub-b").get("/devices").await).is_empty());

    let remove = |etag: &str| {
        let request = hub.request("DELETE", "/devices/dev-2");
        Answer::to(request.header("If-Match", etag))
    };
    assert_eq!(remove("\"MTIz\"").await.status, 412);
    assert_eq!(remove("\"*\"").await.status, 204);
    assert_hub_error(
        &remove("\"*\"").await,
        404,
        "ErrorCode:DeviceNotFound;Device dev-2 is not registered",
    );
    assert_eq!(ids(hub.get("/devices").await), ["dev-1", "dev-3"]);
}

#[tokio::test]
async fn each_hub_has_its_own_operators() {
    let (dps, hub) = assigned().await;
    let other = dps.hub_api("hub-b");
    assert_ne!(hub.key, other.key);
    assert_eq!(other.get("/devices/dev-1").await.status, 404);
    let get = |token: String| Answer::to(hub.request_with("GET", "/devices/dev-1", &token));
    let sas = hub.sas();
    let port = dps.port;
    for sr in [
        "hub-a".to_owned(),
        "HUB-A".to_owned(),
        "hub-a%2Fdevices%2Fdev-1".to_owned(),
        format!("localhost%3A{port}"),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
    ] {
        let answer = get(sas.clone().sr(sr.clone()).sign(&hub.key)).await;
        assert_eq!(answer.status, 200, "{sr}: {answer:?}");
    }
    for token in [
        sas.clone().sr("hub-b").sign(&hub.key),
        sas.clone().sr("elsewhere").sign(&hub.key),
        sas.clone().sr("hub-a%2Ftwins").sign(&hub.key),
        sas.clone().sr("hub-a%2Fdevices%2Fdev-2").sign(&hub.key),
        sas.clone().sr("hub-a").sign(&other.key),
        sas.clone().sign(KEY_1),
        sas.clone().sign(&dps.service_key),
        sas.clone().skn(Some("service")).sign(&hub.key),
        sas.clone().skn(None).sign(&hub.key),
        sas.clone().se(unix_now() - 60).sign(&hub.key),
        "SharedAccessSignature".to_owned(),
        "Bearer token".to_owned(),
    ] {
        assert_hub_error(
            &get(token).await,
            401,
            "ErrorCode:IotHubUnauthorizedAccess;Unauthorized",
        );
    }
    let nothing = dps.request("GET", "/devices/dev-1?api-version=2021-04-12");
    assert_eq!(Answer::to(nothing).await.status, 401);
    assert_eq!(
        dps.get("/enrollments/dev-1").await.status,
        200,
        "the service's own key is for the service"
    );
    let enrollment = dps
        .request("GET", "/enrollments/dev-1?api-version=2021-10-01")
        .header("Authorization", hub.sas().sign(&hub.key));
    assert_eq!(Answer::to(enrollment).await.status, 401);
}

#[tokio::test]
async fn errors_have_the_messages_of_the_hub() {
    let (dps, hub) = assigned().await;
    for (method, path, body, status, message) in [
        (
            "GET",
            "/devices/dev-2",
            None,
            404,
            "ErrorCode:DeviceNotFound;Device dev-2 is not registered",
        ),
        (
            "GET",
            "/twins/DEV-1",
            None,
            404,
            "ErrorCode:DeviceNotFound;Device DEV-1 is not registered",
        ),
        (
            "GET",
            "/twins",
            None,
            404,
            "ErrorCode:GenericNotFound;There is no such path",
        ),
        (
            "POST",
            "/twins/dev-1",
            None,
            405,
            "ErrorCode:GenericMethodNotAllowed;This path does not support the method",
        ),
        (
            "PUT",
            "/devices/dev-2",
            Some(json!({})),
            400,
            "ErrorCode:ArgumentInvalid;The ids in the body must be those of the path.",
        ),
        (
            "GET",
            "/statistics/devices",
            None,
            501,
            "ErrorCode:GenericNotImplemented;The emulator does not support statistics of a hub.",
        ),
        (
            "PATCH",
            "/twins/dev-1",
            Some(json!({ "tags": { "a b": 1 } })),
            400,
            "ErrorCode:ArgumentInvalid;a name contains '$', '.', a space or a control character: \"a b\"",
        ),
        (
            "PATCH",
            "/twins/dev-1",
            Some(json!({ "tags": 1 })),
            400,
            "ErrorCode:ArgumentInvalid;tags must be an object",
        ),
        (
            "PATCH",
            "/twins/dev-1",
            Some(json!({ "tags": { "a": "x".repeat(4096), "b": "x".repeat(4095), "c": true } })),
            413,
            "ErrorCode:MessageTooLarge;the section has 8209 bytes, and 8192 are allowed",
        ),
    ] {
        let request = hub.request(method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        assert_hub_error(&Answer::to(request).await, status, message);
    }
    let token = hub.sas().sign(&hub.key);
    for path in ["/devices/dev-1", "/devices/dev-1?api-version=now"] {
        let request = dps.request("GET", path).header("Authorization", &token);
        assert_hub_error(
            &Answer::to(request).await,
            400,
            "ErrorCode:InvalidProtocolVersion;The api-version query parameter is missing or not valid",
        );
    }
    let request = hub.request("PATCH", "/twins/dev-1").body("{");
    let request = request.header("Content-Type", "application/json");
    let answer = Answer::to(request).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("iothub-errorcode"), Some("IotHubFormatError"));
}
