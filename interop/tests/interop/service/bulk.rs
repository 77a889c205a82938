//! Bulk operations: each item succeeds or fails on its own.

use crate::{Emulator, Kind, ServiceSdk};
use serde_json::{Value, json};

use super::{enrollment, etag, group};

const STALE: &str = "c3RhbGU=";

pub(crate) async fn individuals_in_every_mode(sdk: ServiceSdk) {
    let codes = Codes {
        exists: (409_201, "Enrollment already exists."),
        missing: (404_201, "Enrollment not found."),
    };
    every_mode(sdk, Kind::Enrollments, "registrationId", enrollment, codes).await;
}

pub(crate) async fn groups_in_every_mode(sdk: ServiceSdk) {
    let codes = Codes {
        exists: (409_202, "EnrollmentGroup already exists."),
        missing: (404_202, "EnrollmentGroup not found."),
    };
    every_mode(
        sdk,
        Kind::EnrollmentGroups,
        "enrollmentGroupId",
        group,
        codes,
    )
    .await;
}

struct Codes {
    exists: (u32, &'static str),
    missing: (u32, &'static str),
}

async fn every_mode(
    sdk: ServiceSdk,
    kind: Kind,
    id_field: &str,
    document: fn(&str, &Value) -> Value,
    codes: Codes,
) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    let plain = |id: &str| document(id, &json!({}));
    let disabled = |id: &str, etag: &str| {
        document(
            id,
            &json!({ "provisioningStatus": "disabled", "etag": etag }),
        )
    };
    let error = |id: &str, (code, status): (u32, &str)| json!({ id_field: id, "errorCode": code, "errorStatus": status });
    let failed = |errors: Value| json!({ "errors": errors, "isSuccessful": false });
    let done = json!({ "errors": [], "isSuccessful": true });
    let precondition = (412_001, "Precondition failed.");

    let created = operator
        .bulk(kind, "create", &["a", "b"].map(plain))
        .await
        .unwrap();
    assert_eq!(created, done);
    let items = ["b", "c"].map(plain);
    let created = operator.bulk(kind, "create", &items).await.unwrap();
    assert_eq!(created, failed(json!([error("b", codes.exists)])));

    let a = operator.get(kind, "a").await.unwrap();
    let items = [
        disabled("a", etag(&a)),
        disabled("b", "*"),
        disabled("c", STALE),
        disabled("d", "*"),
    ];
    let updated = operator.bulk(kind, "update", &items).await.unwrap();
    let errors = json!([error("c", precondition), error("d", codes.missing)]);
    assert_eq!(updated, failed(errors));
    for (id, status) in [
        ("a", json!("disabled")),
        ("b", json!("disabled")),
        ("c", Value::Null),
    ] {
        let read = operator.get(kind, id).await.unwrap();
        assert_eq!(read["provisioningStatus"], status, "{id}");
    }

    // The types of the Node client call this mode `updateIfMatchEtag`; the service calls it `updateIfMatchETag`.
    for mode in ["updateIfMatchETag", "updateIfMatchEtag"] {
        let c = operator.get(kind, "c").await.unwrap();
        let items = [disabled("a", STALE), disabled("c", etag(&c))];
        let updated = operator.bulk(kind, mode, &items).await.unwrap();
        assert_eq!(updated, failed(json!([error("a", precondition)])), "{mode}");
    }
    let c = operator.get(kind, "c").await.unwrap();
    assert_eq!(c["provisioningStatus"], "disabled");

    let items = [
        disabled("a", STALE),
        plain("b"),
        disabled("c", etag(&c)),
        plain("d"),
    ];
    let deleted = operator.bulk(kind, "delete", &items).await.unwrap();
    let errors = json!([error("a", precondition), error("d", codes.missing)]);
    assert_eq!(deleted, failed(errors));
    let left = operator
        .query(kind, json!({ "query": "SELECT *" }))
        .await
        .unwrap();
    let left: Vec<&Value> = left
        .pages
        .iter()
        .flatten()
        .map(|item| &item[id_field])
        .collect();
    assert_eq!(left, ["a"]);
    emulator.stop().await;
}

/// The service accepts ten items; neither client splits a longer list.
pub(crate) async fn too_many_items(sdk: ServiceSdk) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    let items: Vec<Value> = (0..11)
        .map(|n| enrollment(&format!("pump-{n}"), &json!({})))
        .collect();
    let refused = operator.bulk(Kind::Enrollments, "create", &items).await;
    operator.assert_refused(
        refused,
        400_004,
        "A bulk operation must have 1 to 10 items; this one has 11.",
    );
    let taken = operator
        .bulk(Kind::Enrollments, "create", &items[..10])
        .await
        .unwrap();
    assert_eq!(taken, json!({ "errors": [], "isSuccessful": true }));
    emulator.stop().await;
}
