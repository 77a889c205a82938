//! ETags: a write requires the current ETag, or `*`.

use serde_json::json;

use crate::common::{
    Answer, Dps, KEY_1, KEY_2, KEY_3, derive, key_enrollment, key_group, stored_etag, with,
};

const STALE: &str = "IjAwMDAwMDAwLTAwMDAtMDMwMC0wMDAwLTAwMDAwMDAwMDAwMCI=";

#[tokio::test]
async fn an_existing_enrollment_is_not_created_again() {
    let dps = Dps::start().await;
    for (path, document, code, message) in [
        (
            "/enrollments/e",
            key_enrollment("e", KEY_1, KEY_2),
            409_201,
            "Enrollment already exists.",
        ),
        (
            "/enrollmentGroups/e",
            key_group("e", KEY_1, KEY_2),
            409_202,
            "EnrollmentGroup already exists.",
        ),
    ] {
        let created = dps.create(path, &document).await;
        let answer = dps.put(path, &document).await;
        answer.assert_error(code, message);
        let with_etag = with(document, json!({ "etag": created["etag"] }));
        dps.put(path, &with_etag).await.assert_error(code, message);
    }
}

#[tokio::test]
async fn the_current_etag_lets_a_write_through_bare_or_quoted() {
    let dps = Dps::start().await;
    let document = key_enrollment("e", KEY_1, KEY_2);
    let mut etag = dps.create("/enrollments/e", &document).await["etag"].clone();
    for quoted in [false, true, false] {
        let current = etag.as_str().expect("text");
        let condition = match quoted {
            true => format!("\"{current}\""),
            false => current.to_owned(),
        };
        let answer = dps.put_if("/enrollments/e", &condition, &document).await;
        assert_eq!(answer.status, 200, "{condition}: {answer:?}");
        etag = answer.json()["etag"].clone();
    }
}

#[tokio::test]
async fn a_star_overwrites_bare_or_quoted() {
    let dps = Dps::start().await;
    let document = key_enrollment("e", KEY_1, KEY_2);
    dps.create("/enrollments/e", &document).await;
    for star in ["*", "\"*\""] {
        let answer = dps.put_if("/enrollments/e", star, &document).await;
        assert_eq!(answer.status, 200, "{star}: {answer:?}");
    }
}

#[tokio::test]
async fn a_stale_etag_stops_a_write() {
    let dps = Dps::start().await;
    let document = key_enrollment("e", KEY_1, KEY_2);
    let first = dps.create("/enrollments/e", &document).await["etag"].clone();
    let first = first.as_str().expect("text");
    dps.put_if("/enrollments/e", first, &document).await;
    for stale in [first, STALE, "\"nonsense\"", "W/\"x\""] {
        let answer = dps.put_if("/enrollments/e", stale, &document).await;
        answer.assert_error(412_001, "Precondition failed.");
        let request = dps.service("DELETE", "/enrollments/e");
        let answer = Answer::to(request.header("If-Match", stale)).await;
        answer.assert_error(412_001, "Precondition failed.");
    }
    assert_eq!(dps.get("/enrollments/e").await.status, 200);
}

#[tokio::test]
async fn a_condition_on_what_is_missing_finds_nothing() {
    let dps = Dps::start().await;
    for condition in ["*", STALE] {
        let answer = dps
            .put_if(
                "/enrollments/e",
                condition,
                &key_enrollment("e", KEY_1, KEY_2),
            )
            .await;
        answer.assert_error(404_201, "Enrollment not found.");
        let answer = dps
            .put_if(
                "/enrollmentGroups/e",
                condition,
                &key_group("e", KEY_1, KEY_2),
            )
            .await;
        answer.assert_error(404_202, "EnrollmentGroup not found.");
    }
}

#[tokio::test]
async fn a_missing_enrollment_is_not_found() {
    let dps = Dps::start().await;
    for (path, code, message) in [
        ("/enrollments/e", 404_201, "Enrollment not found."),
        ("/enrollmentGroups/e", 404_202, "EnrollmentGroup not found."),
        ("/registrations/e", 404_203, "Registration not found."),
    ] {
        dps.get(path).await.assert_error(code, message);
        dps.delete(path).await.assert_error(code, message);
        if path != "/registrations/e" {
            let path = format!("{path}/attestationmechanism");
            let answer = Answer::to(dps.service("POST", &path)).await;
            answer.assert_error(code, message);
        }
    }
}

#[tokio::test]
async fn a_delete_needs_no_condition_and_takes_one() {
    let dps = Dps::start().await;
    let document = key_enrollment("e", KEY_1, KEY_2);
    for condition in [None, Some("*"), Some("current")] {
        let created = dps.create("/enrollments/e", &document).await;
        let mut request = dps.service("DELETE", "/enrollments/e");
        if let Some(condition) = condition {
            let etag = created["etag"].as_str().expect("text");
            request = request.header("If-Match", condition.replace("current", etag));
        }
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, &*answer.text), (204, ""), "{condition:?}");
        assert_eq!(answer.header("Content-Type"), None);
        assert_eq!(dps.get("/enrollments/e").await.status, 404);
    }
}

#[tokio::test]
async fn an_update_keeps_when_it_was_created_and_changes_the_etag() {
    let dps = Dps::start().await;
    let document = key_enrollment("e", KEY_1, KEY_2);
    let created = dps.create("/enrollments/e", &document).await;
    let forged = with(
        document,
        json!({
            "etag": STALE,
            "createdDateTimeUtc": "2001-01-01T00:00:00Z",
            "lastUpdatedDateTimeUtc": "2001-01-01T00:00:00Z",
            "registrationState": { "registrationId": "e", "status": "assigned", "assignedHub": "x" },
        }),
    );
    let updated = dps.put_if("/enrollments/e", "*", &forged).await.json();
    assert_eq!(updated["createdDateTimeUtc"], created["createdDateTimeUtc"]);
    let times = [
        &created["lastUpdatedDateTimeUtc"],
        &updated["lastUpdatedDateTimeUtc"],
    ];
    assert!(times[0].as_str() <= times[1].as_str(), "{times:?}");
    assert_ne!(updated["etag"], created["etag"]);
    assert_ne!(updated["etag"], STALE);
    assert_eq!(updated.get("registrationState"), None);
    let state = dps.get("/enrollments/e").await.json()["registrationState"].clone();
    assert_eq!(state["status"], "unassigned");
}

#[tokio::test]
async fn a_replaced_enrollment_has_no_field_that_is_not_sent() {
    let dps = Dps::start().await;
    let document = with(
        key_enrollment("e", KEY_1, KEY_2),
        json!({ "deviceId": "toaster", "later": true }),
    );
    dps.create("/enrollments/e", &document).await;
    let replaced = dps
        .put_if("/enrollments/e", "*", &key_enrollment("e", KEY_2, KEY_3))
        .await
        .json();
    assert_eq!(
        (replaced.get("deviceId"), replaced.get("later")),
        (None, None)
    );
}

#[tokio::test]
async fn an_etag_ends_in_the_second_it_was_written() {
    let dps = Dps::start().await;
    let before = crate::common::unix_now();
    let created = dps
        .create("/enrollments/e", &key_enrollment("e", KEY_1, KEY_2))
        .await;
    let stored = stored_etag(&created["etag"]);
    let seconds = &stored[stored.len() - 13..stored.len() - 5];
    let seconds = u64::from_str_radix(seconds, 16).expect("hex");
    assert!(
        (before..=crate::common::unix_now()).contains(&seconds),
        "{stored}"
    );
}

#[tokio::test]
async fn a_registration_is_deleted_under_its_own_etag() {
    let dps = Dps::start().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let device = dps.device("d").key(&derive(KEY_1, "d"));
    let etag = device.assigned().await["etag"].clone();
    for (condition, status) in [(STALE, 412), (etag.as_str().expect("text"), 204)] {
        let request = dps.service("DELETE", "/registrations/d");
        let answer = Answer::to(request.header("If-Match", condition)).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    device.assigned().await;
    let request = dps.service("DELETE", "/registrations/d");
    let answer = Answer::to(request.header("If-Match", "\"*\"")).await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

#[tokio::test]
async fn of_many_writers_with_one_etag_one_wins() {
    let dps = Dps::start().await;
    let document = key_enrollment("e", KEY_1, KEY_2);
    let etag = dps.create("/enrollments/e", &document).await["etag"].clone();
    let etag = etag.as_str().expect("text");
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let request = dps.service("PUT", "/enrollments/e").json(&document);
        writers.spawn(Answer::to(request.header("If-Match", etag)));
    }
    let mut statuses: Vec<u16> = writers
        .join_all()
        .await
        .iter()
        .map(|it| it.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert_eq!(statuses[1..], [412; 19]);
}
