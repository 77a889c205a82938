//! Devices, modules and twins of a hub.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::json_text::{any_object, string, value};
use super::{for_each_store, is_accepted, put_text};
use crate::common::{Dps, HubApi, percent};

/// Ids with the characters that ids of devices may have. A client resolves `.` and `..` in a path before it sends the request.
const ID: &str = "[a-zA-Z0-9:+%_#*?!(),=@$'-][a-zA-Z0-9:.+%_#*?!(),=@$'-]{0,40}";

async fn devices(api: &HubApi) -> Vec<Value> {
    let answer = api.get("/devices").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json().as_array().expect("a list").clone()
}

#[test]
fn a_device_that_is_accepted_can_be_read_listed_written_back_and_deleted() {
    let extra = (string(), value()).prop_map(|(name, it)| format!("{name}:{it}"));
    for_each_store(
        (ID, ID, string(), extra),
        async |dps, (id, module, manager, extra)| {
            let api = dps.hub_api("127.0.0.1");
            let path = format!("/devices/{}", percent(&id));
            let text = format!("{{\"deviceId\":{},{extra}}}", json!(id));
            let answer = put_text(api.request("PUT", &path), text).await;
            if !is_accepted(&answer) {
                assert_eq!(api.get(&path).await.status, 404);
                return false;
            }
            let shown = api.get(&path).await.json();
            assert_eq!(shown["deviceId"], json!(id));
            assert_eq!(devices(&api).await, std::slice::from_ref(&shown));
            let back = api.request("PUT", &path).header("If-Match", "*");
            let back = put_text(back, shown.to_string()).await;
            assert_eq!(back.status, 200, "{back:?}");

            let below = format!("{path}/modules/{}", percent(&module));
            let text = format!(
                "{{\"deviceId\":{},\"moduleId\":{},\"managedBy\":{manager}}}",
                json!(id),
                json!(module)
            );
            let answer = put_text(api.request("PUT", &below), text).await;
            if is_accepted(&answer) {
                let shown = api.get(&below).await.json();
                let list = api.get(&format!("{path}/modules")).await.json();
                assert_eq!(list, json!([shown]));
                api.twin(&format!("{}/modules/{}", percent(&id), percent(&module)))
                    .await;
            }
            let deleted = api.send("DELETE", &path, &json!({})).await;
            assert_eq!(deleted.status, 204, "{deleted:?}");
            assert_eq!(api.get(&path).await.status, 404);
            assert_eq!(api.get(&below).await.status, 404);
            true
        },
    );
}

#[test]
fn a_twin_that_is_accepted_can_be_read_and_written_back() {
    for_each_store(
        (any::<bool>(), any_object(), any_object(), value()),
        async |dps, (replaces, tags, desired, other)| {
            let api = dps.hub_api("127.0.0.1");
            let created = api
                .send("PUT", "/devices/dev-1", &json!({ "deviceId": "dev-1" }))
                .await;
            assert_eq!(created.status, 200, "{created:?}");
            let mut accepted = false;
            let method = if replaces { "PUT" } else { "PATCH" };
            for document in [
                format!("{{\"tags\":{tags}}}"),
                format!("{{\"properties\":{{\"desired\":{desired}}}}}"),
                format!("{{\"tags\":{other},\"properties\":{other}}}"),
                other,
            ] {
                let answer = put_text(api.request(method, "/twins/dev-1"), document).await;
                let shown = api.twin("dev-1").await;
                if is_accepted(&answer) {
                    assert_eq!(answer.json(), shown);
                    accepted = true;
                }
                let back = put_text(api.request("PATCH", "/twins/dev-1"), shown.to_string()).await;
                assert_eq!(back.status, 200, "{back:?}");
                let kept = api.twin("dev-1").await;
                assert_eq!(kept["tags"], shown["tags"]);
            }
            assert_eq!(devices(&api).await.len(), 1);
            let deleted = api.send("DELETE", "/devices/dev-1", &json!({})).await;
            assert_eq!(deleted.status, 204, "{deleted:?}");
            accepted
        },
    );
}

#[tokio::test]
async fn devices_whose_ids_are_alike_are_different_devices() {
    let dps = Dps::start().await;
    let api = dps.hub_api("127.0.0.1");
    let ids = [
        "Dev-1",
        "dev-1",
        "dev-1:",
        "dev-1%2Fm",
        "dev-1%",
        "dev-1.",
        "DEV-1",
    ];
    for id in ids {
        let created = api
            .send(
                "PUT",
                &format!("/devices/{}", percent(id)),
                &json!({ "deviceId": id }),
            )
            .await;
        assert_eq!(created.status, 200, "{created:?}");
        let tags = json!({ "tags": { "of": id } });
        let patched = api
            .send("PATCH", &format!("/twins/{}", percent(id)), &tags)
            .await;
        assert_eq!(patched.status, 200, "{patched:?}");
        for module in ["m", "M"] {
            let path = format!("/devices/{}/modules/{module}", percent(id));
            let created = api
                .send("PUT", &path, &json!({ "deviceId": id, "moduleId": module }))
                .await;
            assert_eq!(created.status, 201, "{created:?}");
        }
    }
    assert_eq!(devices(&api).await.len(), ids.len());
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(api.twin(&percent(id)).await["tags"]["of"], *id);
        let modules = api
            .get(&format!("/devices/{}/modules", percent(id)))
            .await
            .json();
        assert_eq!(modules.as_array().map(Vec::len), Some(2));
        let deleted = api
            .send("DELETE", &format!("/devices/{}", percent(id)), &json!({}))
            .await;
        assert_eq!(deleted.status, 204, "{deleted:?}");
        assert_eq!(devices(&api).await.len(), ids.len() - number - 1);
    }
}
