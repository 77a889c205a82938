//! Create, read, update and delete: only a request with the current ETag changes an enrollment.

use crate::{Emulator, Kind, ServiceSdk};
use serde_json::{Value, json};

use super::{enrollment, etag, group, not_found};

const STALE: (u32, &str) = (412_001, "Precondition failed.");

pub(crate) async fn life_of_an_individual_enrollment(sdk: ServiceSdk) {
    let exists = (409_201, "Enrollment already exists.");
    life(sdk, Kind::Enrollments, enrollment, exists).await;
}

pub(crate) async fn life_of_a_group(sdk: ServiceSdk) {
    let exists = (409_202, "EnrollmentGroup already exists.");
    life(sdk, Kind::EnrollmentGroups, group, exists).await;
}

async fn life(
    sdk: ServiceSdk,
    kind: Kind,
    document: fn(&str, &Value) -> Value,
    exists: (u32, &str),
) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    let nothing = not_found(kind);
    let missing = operator.get(kind, "pump-1").await;
    operator.assert_refused(missing, nothing.0, nothing.1);

    let pump = document("pump-1", &json!({ "provisioningStatus": "enabled" }));
    let created = operator.put(kind, &pump, None).await.unwrap();
    let read = operator.get(kind, "PUMP-1").await.unwrap();
    assert_eq!(read["etag"], created["etag"], "an id is read without case");

    let again = operator.put(kind, &pump, None).await;
    operator.assert_refused(again, exists.0, exists.1);

    let pump = document("pump-1", &json!({ "provisioningStatus": "disabled" }));
    let changed = operator.put(kind, &pump, Some(etag(&read))).await.unwrap();
    assert_eq!(changed["provisioningStatus"], "disabled");
    assert_eq!(changed["createdDateTimeUtc"], created["createdDateTimeUtc"]);
    assert_ne!(
        changed["lastUpdatedDateTimeUtc"],
        created["lastUpdatedDateTimeUtc"]
    );
    assert_ne!(changed["etag"], created["etag"]);

    let stale = operator.put(kind, &pump, Some(etag(&created))).await;
    operator.assert_refused(stale, STALE.0, STALE.1);
    let read = operator.get(kind, "pump-1").await.unwrap();
    assert_eq!(read["etag"], changed["etag"]);

    let pump = document("pump-1", &json!({ "provisioningStatus": "enabled" }));
    let replaced = operator.put(kind, &pump, Some("*")).await.unwrap();
    assert_eq!(replaced["provisioningStatus"], "enabled");

    let stale = operator.delete(kind, "pump-1", Some(etag(&changed))).await;
    operator.assert_refused(stale, STALE.0, STALE.1);
    let gone = operator.delete(kind, "pump-1", Some(etag(&replaced))).await;
    assert_eq!(gone, Ok(Value::Null));
    let missing = operator.get(kind, "pump-1").await;
    operator.assert_refused(missing, nothing.0, nothing.1);

    operator.put(kind, &pump, None).await.unwrap();
    let gone = operator.delete(kind, "pump-1", None).await;
    assert_eq!(gone, Ok(Value::Null));
    let missing = operator.delete(kind, "pump-1", None).await;
    operator.assert_refused(missing, nothing.0, nothing.1);
    emulator.stop().await;
}

/// Both clients encode `:` in a path and leave other characters unchanged.
pub(crate) async fn an_id_with_every_character(sdk: ServiceSdk) {
    const ID: &str = "Aa0:b.c_d-9";
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    let put = operator
        .put(Kind::Enrollments, &enrollment(ID, &json!({})), None)
        .await
        .unwrap();
    assert_eq!(put["registrationId"], ID);
    let read = operator.get(Kind::Enrollments, ID).await.unwrap();
    assert_eq!(read["registrationId"], ID);
    let keys = operator.attestation(Kind::Enrollments, ID).await.unwrap();
    assert_eq!(keys, put["attestation"]);
    operator.delete(Kind::Enrollments, ID, None).await.unwrap();
    emulator.stop().await;
}
