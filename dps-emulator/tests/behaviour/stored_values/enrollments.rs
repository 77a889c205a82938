//! Individual enrollments, groups and registration records.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::json_text::{any_object, string, value};
use super::{for_each_store, is_accepted, listed, put_text};
use crate::common::{
    Answer, Dps, Hook, KEY_1, KEY_2, derive, key_enrollment, key_group, percent, with,
};

/// Ids with the characters that ids may have, which include separators.
const ID: &str = "[a-zA-Z0-9._:-]{0,60}[a-zA-Z0-9-]";

/// The members of an enrollment apart from its id and its attestation.
fn members() -> impl Strategy<Value = String> {
    let desired = any_object()
        .prop_map(|it| format!("\"initialTwin\":{{\"properties\":{{\"desired\":{it}}}}}"));
    let member = prop_oneof![
        any_object().prop_map(|tags| format!("\"initialTwin\":{{\"tags\":{tags}}}")),
        desired,
        value().prop_map(|it| format!("\"initialTwin\":{it}")),
        any_object().prop_map(|it| format!("\"optionalDeviceInformation\":{it}")),
        any_object().prop_map(|it| format!("\"reprovisionPolicy\":{it}")),
        any_object().prop_map(|it| format!("\"capabilities\":{it}")),
        string().prop_map(|it| format!("\"deviceId\":{it}")),
        string().prop_map(|it| format!(
            "\"allocationPolicy\":\"custom\",\"customAllocationDefinition\":{{\"webhookUrl\":\"https://h/?code=1\",\"apiVersion\":{it}}}"
        )),
        (string(), value()).prop_map(|(name, it)| format!("{name}:{it}")),
    ];
    prop::collection::vec(member, 0..3).prop_map(|it| it.join(","))
}

/// A document with this id, an attestation with an unknown member, and these members.
fn document(id_name: &str, id: &str, extra: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        "{{\"{id_name}\":\"{id}\",\"attestation\":{{\"type\":\"symmetricKey\",\"later\":{extra},\
         \"symmetricKey\":{{\"primaryKey\":\"{KEY_1}\",\"secondaryKey\":\"{KEY_2}\"}}}}{comma}{members}}}"
    )
}

async fn check(
    dps: &Dps,
    root: &str,
    id_name: &str,
    (id, extra, members): (String, String, String),
) -> bool {
    let path = format!("/{root}/{}", percent(&id));
    let text = document(id_name, &id, &extra, &members);
    let answer = put_text(dps.service("PUT", &path), text).await;
    if !is_accepted(&answer) {
        assert_eq!(dps.get(&path).await.status, 404);
        return false;
    }
    let read = dps.get(&path).await;
    assert_eq!(read.status, 200, "{read:?}");
    let shown = read.json();
    let other_case = format!("/{root}/{}", percent(&id.to_uppercase()));
    assert_eq!(dps.get(&other_case).await.json(), shown);
    let list = listed(dps, &format!("/{root}/query")).await;
    let mut expected = shown.clone();
    expected
        .as_object_mut()
        .expect("an object")
        .remove("registrationState");
    assert_eq!(list, [expected], "a list has no registration states");
    dps.attestation(&path).await;

    let etag = shown["etag"].as_str().expect("an ETag").to_owned();
    let kept = dps.put_if(&path, &etag, &shown).await;
    assert_eq!(kept.status, 200, "an answer can be written back: {kept:?}");
    let again = dps.get(&path).await.json();
    for (name, value) in shown.as_object().expect("an object") {
        if !["etag", "lastUpdatedDateTimeUtc"].contains(&name.as_str()) {
            assert_eq!(again[name], *value, "{name}");
        }
    }
    assert_eq!(dps.delete(&path).await.status, 204);
    assert_eq!(dps.get(&path).await.status, 404);
    true
}

#[test]
fn an_individual_enrollment_that_is_accepted_can_be_read_listed_written_back_and_deleted() {
    for_each_store((ID, value(), members()), async |dps, case| {
        check(dps, "enrollments", "registrationId", case).await
    });
}

#[test]
fn a_group_that_is_accepted_can_be_read_listed_written_back_and_deleted() {
    for_each_store((ID, value(), members()), async |dps, case| {
        check(dps, "enrollmentGroups", "enrollmentGroupId", case).await
    });
}

#[test]
fn a_registration_with_any_payload_can_be_read_listed_and_deleted() {
    for_each_store((ID, ID, value()), async |dps, (group, id, payload)| {
        let group_path = format!("/enrollmentGroups/{}", percent(&group));
        dps.create(&group_path, &key_group(&group, KEY_1, KEY_2))
            .await;
        let device = dps.device(&id).key(&derive(KEY_1, &id));
        let body = format!("{{\"registrationId\":\"{id}\",\"payload\":{payload}}}");
        let answer = put_text(device.request("PUT", "/register"), body).await;
        let path = format!("/registrations/{}", percent(&id));
        let list = format!("/registrations/{}/query", percent(&group));
        let accepted = is_accepted(&answer);
        if accepted {
            let operation = answer.json()["operationId"].clone();
            let done = device.finish(operation.as_str().expect("text")).await;
            assert_eq!(done["status"], "assigned", "{done}");
            let read = dps.get(&path).await;
            assert_eq!(read.status, 200, "{read:?}");
            assert_eq!(listed(dps, &list).await, [read.json()]);
            assert_eq!(device.lookup().await.status, 200);
            assert_eq!(dps.delete(&path).await.status, 204);
        }
        assert_eq!(dps.get(&path).await.status, 404);
        assert!(listed(dps, &list).await.is_empty());
        assert_eq!(dps.delete(&group_path).await.status, 204);
        accepted
    });
}

#[test]
fn a_registration_with_any_payload_of_a_webhook_can_be_read() {
    for_each_store((value(), any_object()), async |dps, (payload, twin)| {
        let body = format!(
            "{{\"iotHubHostName\":\"127.0.0.1\",\"payload\":{payload},\"initialTwin\":{{\"tags\":{twin}}}}}"
        );
        let hook = Hook::saying(200, &body).await;
        let custom = json!({
            "allocationPolicy": "custom",
            "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
        });
        let enrollment = with(key_enrollment("dev-1", KEY_1, KEY_2), custom);
        dps.create("/enrollments/dev-1", &enrollment).await;
        let done = dps.device("dev-1").key(KEY_1).provision().await;
        assert!(
            done["status"] == "assigned" || done["status"] == "failed",
            "{done}"
        );
        let read = dps.get("/registrations/dev-1").await;
        assert_eq!(read.status, 200, "{read:?}");
        let shown = dps.get("/enrollments/dev-1").await;
        assert_eq!(shown.json()["registrationState"]["status"], done["status"]);
        if done["status"] == "assigned" {
            dps.hub_api("127.0.0.1").twin("dev-1").await;
            dps.default_hub().remove("dev-1").await.expect("removed");
        }
        assert_eq!(dps.delete("/registrations/dev-1").await.status, 204);
        assert_eq!(dps.delete("/enrollments/dev-1").await.status, 204);
        done["status"] == "assigned"
    });
}

#[tokio::test]
async fn groups_whose_ids_are_alike_have_their_own_registrations() {
    let dps = Dps::start().await;
    let groups = ["a", "a-", "a.a", "a:a", "a_a", "aa"];
    for (number, group) in groups.iter().enumerate() {
        let key = if number % 2 == 0 { KEY_1 } else { KEY_2 };
        let group_path = format!("/enrollmentGroups/{}", percent(group));
        dps.create(&group_path, &key_group(group, key, KEY_2)).await;
        let answer = dps
            .put(
                &group_path
                    .to_uppercase()
                    .replace("ENROLLMENTGROUPS", "enrollmentGroups"),
                &key_group(&group.to_uppercase(), KEY_1, KEY_2),
            )
            .await;
        assert_eq!(
            answer.status, 409,
            "the case of an id does not matter: {answer:?}"
        );
        assert!(
            listed(&dps, &format!("/registrations/{}/query", percent(group)))
                .await
                .is_empty()
        );
    }
    let ids = |list: Vec<Value>| -> Vec<Value> {
        list.into_iter()
            .map(|it| it["registrationId"].clone())
            .collect()
    };
    dps.device("d").key(&derive(KEY_1, "d")).assigned().await;
    let mut holders = Vec::new();
    for group in groups {
        let list = listed(&dps, &format!("/registrations/{}/query", percent(group))).await;
        holders.extend(ids(list));
    }
    assert_eq!(holders, ["d"], "it is in one group");
    let answer = Answer::to(dps.service("DELETE", "/registrations/D")).await;
    assert_eq!(answer.status, 204);
}
