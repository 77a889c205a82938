//! The service API of a hub: tokens of others, tokens for another path, and paths that lead elsewhere.

use serde_json::json;

use super::http::exchange;
use crate::common::{
    Answer, Dps, FOREVER, HubApi, KEY_1, KEY_2, KEY_3, hub_token, key_enrollment, linked, percent,
    token, unix_now,
};

pub(super) const HUB: &str = "127.0.0.1";

/// Requests that read or change something.
const REQUESTS: [(&str, &str); 17] = [
    ("GET", "/devices"),
    ("GET", "/devices/dev-1"),
    ("PUT", "/devices/dev-1"),
    ("PUT", "/devices/new"),
    ("DELETE", "/devices/dev-1"),
    ("GET", "/devices/dev-1/modules"),
    ("PUT", "/devices/dev-1/modules/m"),
    ("GET", "/twins/dev-1"),
    ("PATCH", "/twins/dev-1"),
    ("PUT", "/twins/dev-1"),
    ("GET", "/twins/dev-1/modules/m"),
    ("POST", "/twins/dev-1/methods"),
    ("POST", "/twins/dev-1/modules/m/methods"),
    ("POST", "/messages/deviceBound"),
    ("GET", "/messages/serviceBound/feedback"),
    ("DELETE", "/devices/dev-1/commands"),
    ("GET", "/messages/serviceBound/filenotifications"),
];

pub(super) async fn with_two_devices() -> Dps {
    let dps =
        Dps::start_with(|builder| builder.link_hub(linked(HUB)).link_hub(linked("hub-b"))).await;
    for (id, key) in [("dev-1", KEY_1), ("dev-2", KEY_3)] {
        let mut document = key_enrollment(id, key, KEY_2);
        document["iotHubs"] = json!([HUB]);
        document["allocationPolicy"] = json!("static");
        dps.create(&format!("/enrollments/{id}"), &document).await;
        dps.device(id).key(key).assigned().await;
    }
    dps
}

fn tokens(dps: &Dps, api: &HubApi) -> Vec<(&'static str, String)> {
    let sas = api.sas();
    let genuine = sas.sign(&api.key);
    let resource = |sr: &str| sas.clone().sr(sr).sign(&api.key);
    let device = |id: &str, key: &str| hub_token(HUB, id, key, FOREVER);
    let signature = genuine
        .split("&sig=")
        .nth(1)
        .and_then(|rest| rest.split('&').next());
    let signature = signature.expect("a signature");
    vec![
        ("the key of another device", sas.sign(KEY_3)),
        ("the key of the device", sas.sign(KEY_1)),
        ("a token of the device", device("dev-1", KEY_1)),
        (
            "a token of the device with the key of the hub",
            device("dev-1", &api.key),
        ),
        ("a registration token", token("dev-1", KEY_1)),
        ("the key of DPS", sas.sign(&dps.service_key)),
        (
            "an operator's token of DPS",
            dps.service_sas().sign(&dps.service_key),
        ),
        ("no policy", sas.clone().skn(None).sign(&api.key)),
        ("an empty policy", sas.clone().skn(Some("")).sign(&api.key)),
        (
            "the policy of DPS",
            sas.clone()
                .skn(Some("provisioningserviceowner"))
                .sign(&api.key),
        ),
        (
            "another policy of a hub",
            sas.clone().skn(Some("service")).sign(&api.key),
        ),
        (
            "the policy with a space",
            sas.clone().skn(Some("iothubowner%20")).sign(&api.key),
        ),
        ("another hub of the instance", resource("hub-c")),
        ("another host", resource("other.azure-devices.net")),
        ("a host that begins alike", resource("localhost.example")),
        ("a host that ends alike", resource("evil-localhost")),
        (
            "a user name before the host",
            resource("localhost%40evil.example"),
        ),
        ("a host after a slash", resource("%2Flocalhost")),
        ("a URL", resource("https%3A%2F%2Flocalhost")),
        ("an empty resource", resource("")),
        ("a slash", resource("%2F")),
        ("an asterisk", resource("*")),
        (
            "the path of another device",
            resource("localhost%2Fdevices%2Fdev-2"),
        ),
        ("a path that begins alike", resource("localhost%2Fdevice")),
        (
            "the path of a query",
            resource("localhost%2Fdevices%2Fquery"),
        ),
        ("expired", sas.clone().se(unix_now() - 1).sign(&api.key)),
        ("expired in 1970", sas.clone().se(0).sign(&api.key)),
        (
            "a changed expiry",
            genuine.replace("se=4102444800", "se=4102444801"),
        ),
        (
            "a changed policy",
            genuine.replace("skn=iothubowner", "skn=iothubownez"),
        ),
        ("no signature", genuine.replace("&sig=", "&gis=")),
        ("an empty signature", genuine.replace(signature, "")),
        ("two policies", format!("{genuine}&skn=device")),
        ("two resources", format!("{genuine}&sr=other")),
        ("the key", api.key.clone()),
        ("the key as a bearer token", format!("Bearer {}", api.key)),
        (
            "an unsigned bearer token",
            "Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(),
        ),
        ("nothing", String::new()),
    ]
}

#[tokio::test]
async fn no_forged_token_reads_or_changes_anything() {
    let dps = with_two_devices().await;
    let api = dps.hub_api(HUB);
    let before = (
        api.get("/devices/dev-1").await.text,
        api.twin("dev-1").await,
    );
    let body =
        json!({ "deviceId": "dev-1", "methodName": "m", "properties": { "desired": { "a": 1 } } });
    for (name, token) in tokens(&dps, &api) {
        for (method, path) in REQUESTS {
            let answer = Answer::to(api.request_with(method, path, &token).json(&body)).await;
            assert_eq!(answer.status, 401, "{name}: {method} {path}: {answer:?}");
            assert!(!answer.text.contains(KEY_1), "{name}: {method} {path}");
        }
    }
    // The other hub of the instance has no such device.
    let other = dps.hub_api("hub-b");
    for (method, path) in [
        ("GET", "/devices/dev-1"),
        ("GET", "/twins/dev-1"),
        ("DELETE", "/devices/dev-1"),
    ] {
        let request = other.request(method, path).header("If-Match", "*");
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
    }
    let after = (
        api.get("/devices/dev-1").await.text,
        api.twin("dev-1").await,
    );
    assert_eq!(after, before);
}

/// A token for the path of one device, and paths that a server might read as that of another.
#[tokio::test]
async fn a_token_for_one_device_is_for_no_other() {
    let dps = with_two_devices().await;
    let api = dps.hub_api(HUB);
    // Ids of a hub differ by case.
    let upper = json!({ "deviceId": "DEV-1", "authentication": { "type": "sas" } });
    assert_eq!(api.send("PUT", "/devices/DEV-1", &upper).await.status, 200);
    let token = |path: &str| {
        let sr = percent(&format!("localhost:{}{path}", dps.port));
        api.sas().sr(sr).sign(&api.key)
    };
    let devices = token("/devices/dev-2");
    for path in [
        "/devices/dev-1",
        "/devices/DEV-1",
        "/devices/dev-2/../dev-1",
        "/devices/dev-2/%2E%2E/dev-1",
        "/devices/dev-2%2F..%2Fdev-1",
        "/devices/dev-2/modules/../../dev-1",
        "/devices/%64ev-1",
        "/devices//dev-1",
        "//devices/dev-1",
        "/devices/dev-2;/dev-1",
        "/devices/dev-2%00dev-1",
        "/devices/dev-2%0A",
        "/devices/dev-20",
        "/devices/dev-",
        "/devices",
        "/devices/",
        "/twins/dev-1",
        "/twins/dev-2",
        "/devices/./dev-1",
        "/Devices/dev-1",
        "/devices/dev-2/../../twins/dev-1",
        "/devices/dev-2\\..\\dev-1",
        "/devices/dev-2%5C..%5Cdev-1",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            // As it is: a client library would resolve the dots.
            let request = format!(
                "{method} {path}?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Authorization: {devices}\r\nIf-Match: *\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
            );
            let answer = exchange(&dps, &request).await;
            assert!(
                !answer.starts_with("HTTP/1.1 2"),
                "{method} {path}: {answer}"
            );
        }
    }
    for (name, path) in [
        ("the device in another case", "/devices/DEV-1"),
        ("the device after a path up", "/devices/dev-1/.."),
    ] {
        let answer = Answer::to(api.request_with("GET", "/devices/dev-1", &token(path))).await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
    }
    // The words of a path may have any case, in the token and in the request.
    for (scope, path) in [
        ("/devices/dev-2", "/devices/dev-2"),
        ("/devices/dev-2", "/Devices/dev-2/MODULES"),
        ("/DEVICES/dev-2", "/devices/dev-2"),
        ("/TWINS/dev-2", "/Twins/dev-2"),
        ("/messages/servicebound", "/messages/serviceBound/Feedback"),
    ] {
        let own = Answer::to(api.request_with("GET", path, &token(scope))).await;
        assert!(own.status < 300, "{scope} {path}: {own:?}");
    }
}
