//! Bulk operations: each item succeeds or fails alone, and the answer reports which failed.

use serde_json::{Value, json};

use crate::common::{
    Answer, Dps, KEY_1, KEY_2, Wire, certificate_enrollment, key_enrollment, key_group, with,
};

async fn bulk(dps: &Wire, mode: &str, items: &[Value]) -> Answer {
    let body = json!({ "enrollments": items, "mode": mode });
    Answer::to(dps.service("POST", "/enrollments").json(&body)).await
}

fn device(id: &str) -> Value {
    key_enrollment(id, KEY_1, KEY_2)
}

#[track_caller]
fn assert_done(answer: &Answer) {
    assert_eq!(
        (answer.status, &*answer.text),
        (200, r#"{"errors":[],"isSuccessful":true}"#)
    );
}

#[track_caller]
fn assert_failed(answer: &Answer, errors: Value) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({ "errors": errors, "isSuccessful": false });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn both_kinds_are_created_and_deleted() {
    let dps = Dps::start().await;
    let devices = json!([device("a"), device("b")]);
    let groups = json!([key_group("a", KEY_1, KEY_2), key_group("b", KEY_1, KEY_2)]);
    for (path, list, items) in [
        ("/enrollments", "enrollments", &devices),
        // With a slash at the end, as the Node SDK has it.
        ("/enrollmentGroups/", "enrollmentGroups", &groups),
    ] {
        for (mode, status) in [("create", 200), ("delete", 404)] {
            let body = json!({ list: items, "mode": mode });
            assert_done(&Answer::to(dps.service("POST", path).json(&body)).await);
            for id in ["a", "b"] {
                let one = format!("{}/{id}", path.trim_end_matches('/'));
                assert_eq!(dps.get(&one).await.status, status, "{mode} {one}");
            }
        }
    }
}

#[tokio::test]
async fn existing_enrollments_are_not_created_and_the_others_are() {
    let dps = Dps::start().await;
    assert_done(&bulk(&dps, "create", &[device("b"), device("d")]).await);
    let five = ["a", "b", "c", "d", "e"].map(device);
    let exists = |id: &str| {
        json!({
            "registrationId": id,
            "errorCode": 409_201,
            "errorStatus": "Enrollment already exists.",
        })
    };
    let answer = bulk(&dps, "create", &five).await;
    assert_failed(&answer, json!([exists("b"), exists("d")]));
    for id in ["a", "c", "e"] {
        assert_eq!(dps.get(&format!("/enrollments/{id}")).await.status, 200);
    }
}

#[tokio::test]
async fn an_update_is_under_the_etag_of_each_item() {
    let dps = Dps::start().await;
    let one = dps.create("/enrollments/one", &device("one")).await;
    dps.create("/enrollments/two", &device("two")).await;
    dps.create("/enrollments/three", &device("three")).await;
    let changed = |id: &str, etag: Value| {
        let fields = json!({ "deviceId": "changed", "etag": etag });
        with(device(id), fields)
    };
    let quoted = json!(format!("\"{}\"", one["etag"].as_str().expect("text")));
    let items = [
        changed("one", one["etag"].clone()),
        changed("two", json!("*")),
        changed("three", json!("c3RhbGU=")),
        changed("four", json!("*")),
        changed("five", Value::Null),
    ];
    let errors = json!([
        { "registrationId": "three", "errorCode": 412_001, "errorStatus": "Precondition failed." },
        { "registrationId": "four", "errorCode": 404_201, "errorStatus": "Enrollment not found." },
    ]);
    assert_failed(&bulk(&dps, "update", &items).await, errors);
    for (id, device_id) in [
        ("one", json!("changed")),
        ("two", json!("changed")),
        ("three", Value::Null),
        ("five", json!("changed")),
    ] {
        let read = dps.get(&format!("/enrollments/{id}")).await.json();
        assert_eq!(read["deviceId"], device_id, "{id}");
    }
    // The version is another one now.
    let again = bulk(&dps, "update", &[changed("one", quoted)]).await;
    assert_eq!(again.json()["errors"][0]["errorCode"], 412_001);
}

/// As recorded, items without an ETag: they would be created, and are there.
#[tokio::test]
async fn an_update_without_an_etag_finds_that_the_item_exists() {
    let dps = Dps::start().await;
    let groups = [key_group("g", KEY_1, KEY_2)];
    let body = |mode: &str| json!({ "enrollmentGroups": groups, "mode": mode });
    let ask = async |mode: &str| {
        Answer::to(dps.service("POST", "/enrollmentGroups").json(&body(mode))).await
    };
    assert_done(&ask("create").await);
    let answer = ask("update").await;
    assert_eq!(
        answer.text,
        r#"{"errors":[{"enrollmentGroupId":"g","errorCode":409202,"errorStatus":"EnrollmentGroup already exists."}],"isSuccessful":false}"#
    );
}

#[tokio::test]
async fn an_update_if_the_etag_matches_needs_one() {
    let dps = Dps::start().await;
    let one = dps.create("/enrollments/one", &device("one")).await;
    dps.create("/enrollments/two", &device("two")).await;
    let etag = |id: &str, etag: &Value| with(device(id), json!({ "etag": etag }));
    let items = [
        etag("one", &one["etag"]),
        device("two"),
        etag("three", &one["etag"]),
    ];
    let answer = bulk(&dps, "updateIfMatchETag", &items).await;
    let errors = json!([
        {
            "registrationId": "two",
            "errorCode": 400_004,
            "errorStatus": "An etag is required in the mode 'updateIfMatchETag'.",
        },
        { "registrationId": "three", "errorCode": 404_201, "errorStatus": "Enrollment not found." },
    ]);
    assert_failed(&answer, errors);
    assert_ne!(
        dps.get("/enrollments/one").await.json()["etag"],
        one["etag"]
    );
}

#[tokio::test]
async fn a_delete_needs_an_id_and_honours_an_etag() {
    let dps = Dps::start().await;
    for id in ["a", "b", "c"] {
        dps.create(&format!("/enrollments/{id}"), &device(id)).await;
    }
    let items = [
        json!({ "registrationId": "A" }),
        json!({ "registrationId": "b", "etag": "c3RhbGU=" }),
        json!({ "registrationId": "c", "etag": "*" }),
        json!({ "registrationId": "d" }),
    ];
    let errors = json!([
        { "registrationId": "b", "errorCode": 412_001, "errorStatus": "Precondition failed." },
        { "registrationId": "d", "errorCode": 404_201, "errorStatus": "Enrollment not found." },
    ]);
    assert_failed(&bulk(&dps, "delete", &items).await, errors);
    for (id, status) in [("a", 404), ("b", 200), ("c", 404)] {
        let answer = dps.get(&format!("/enrollments/{id}")).await;
        assert_eq!(answer.status, status, "{id}");
    }
}

#[tokio::test]
async fn an_invalid_item_does_not_affect_the_others() {
    let dps = Dps::start().await;
    let items = [
        device("good-1"),
        json!({ "registrationId": "nothing" }),
        device("bad id"),
        certificate_enrollment("garbled", "no certificate"),
        with(device("custom"), json!({ "allocationPolicy": "custom" })),
        with(
            device("typed"),
            json!({ "capabilities": { "iotEdge": "yes" } }),
        ),
        device("good-2"),
    ];
    let answer = bulk(&dps, "create", &items).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["isSuccessful"], false);
    let errors = body["errors"].as_array().expect("a list");
    let failed: Vec<&Value> = errors
        .iter()
        .map(|error| &error["registrationId"])
        .collect();
    assert_eq!(failed, ["nothing", "bad id", "garbled", "custom", "typed"]);
    for error in errors {
        assert_eq!(error["errorCode"], 400_004, "{error}");
    }
    assert_eq!(
        errors[3]["errorStatus"],
        "A CustomAllocationDefinition is required when the allocation policy is set to 'Custom'"
    );
    for id in ["good-1", "good-2"] {
        assert_eq!(dps.get(&format!("/enrollments/{id}")).await.status, 200);
    }
}

#[tokio::test]
async fn an_item_that_comes_twice_is_taken_in_its_order() {
    let dps = Dps::start().await;
    let named = |id: &str, name: &str| with(device(id), json!({ "deviceId": name }));
    let items = [named("a", "first"), device("b"), named("A", "second")];
    let answer = bulk(&dps, "create", &items).await;
    let exists = json!([{
        "registrationId": "A",
        "errorCode": 409_201,
        "errorStatus": "Enrollment already exists.",
    }]);
    assert_failed(&answer, exists);
    let read = dps.get("/enrollments/a").await.json();
    assert_eq!(read["deviceId"], "first");
}

#[tokio::test]
async fn an_operation_that_cannot_be_read_does_nothing() {
    let dps = Dps::start().await;
    let eleven: Vec<Value> = (0..11).map(|n| device(&format!("dev-{n}"))).collect();
    for (body, message) in [
        (
            json!({ "enrollments": eleven, "mode": "create" }),
            "A bulk operation must have 1 to 10 items; this one has 11.",
        ),
        (
            json!({ "enrollments": [], "mode": "create" }),
            "A bulk operation must have 1 to 10 items; this one has 0.",
        ),
        (
            json!({ "enrollments": [device("a")], "mode": "replace" }),
            "The mode 'replace' is not known.",
        ),
        (
            json!({ "enrollments": [device("a")] }),
            "The mode is missing.",
        ),
        (
            json!({ "mode": "create" }),
            "The field enrollments is missing.",
        ),
        (
            json!({ "enrollmentGroups": [device("a")], "mode": "create" }),
            "The field enrollments is missing.",
        ),
        (
            json!({ "enrollments": device("a"), "mode": "create" }),
            "The field enrollments is missing.",
        ),
        (
            json!({ "enrollments": [device("a"), { "etag": "*" }], "mode": "create" }),
            "An item has no registrationId.",
        ),
        (
            json!({ "enrollments": [device("a"), "b"], "mode": "create" }),
            "An item has no registrationId.",
        ),
    ] {
        let answer = Answer::to(dps.service("POST", "/enrollments").json(&body)).await;
        answer.assert_error(400_004, message);
    }
    let query = json!({ "query": "" });
    let left = Answer::to(dps.service("POST", "/enrollments/query").json(&query)).await;
    assert_eq!(left.text, "[]");
}

#[tokio::test]
async fn ten_items_in_any_spelling_are_taken() {
    let dps = Dps::start().await;
    let ten: Vec<Value> = (0..10)
        .map(|n| {
            json!({
                "RegistrationId": format!("dev-{n}"),
                "Attestation": { "type": "SymmetricKey" },
                "etag": null,
            })
        })
        .collect();
    let body = json!({ "Enrollments": ten, "Mode": "Create" });
    assert_done(&Answer::to(dps.service("POST", "/Enrollments").json(&body)).await);
    let made = dps.attestation("/enrollments/dev-9").await;
    assert_eq!(
        made["symmetricKey"]["primaryKey"].as_str().map(str::len),
        Some(88)
    );
}
