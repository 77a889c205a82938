//! Queries of the service API: pages, continuation tokens and errors.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{
    Answer, Dps, KEY_1, KEY_2, KEY_3, Wire, certificate_group, derive, key_enrollment, key_group,
};

/// A page with at most `count` items, starting at the token of the previous page.
async fn page(dps: &Wire, path: &str, count: Option<usize>, token: Option<&str>) -> Answer {
    let mut request = dps
        .service("POST", path)
        .json(&json!({ "query": "SELECT *" }));
    if let Some(count) = count {
        request = request.header("x-ms-max-item-count", count.to_string());
    }
    if let Some(token) = token {
        request = request.header("x-ms-continuation", token);
    }
    let answer = Answer::to(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// The ids on all pages of the list.
async fn pages(dps: &Wire, path: &str, count: usize, id: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut token = None;
    loop {
        let answer = page(dps, path, Some(count), token.as_deref()).await;
        pages.push(ids(&answer, id));
        token = answer.header("x-ms-continuation").map(str::to_owned);
        if token.is_none() {
            return pages;
        }
    }
}

fn ids(answer: &Answer, id: &str) -> Vec<String> {
    let items = answer.json();
    let items = items.as_array().expect("a list").iter();
    items
        .map(|item| item[id].as_str().expect("an id").to_owned())
        .collect()
}

/// Creates enrollments for these ids, ten per request.
async fn enroll(dps: &Wire, ids: &[String]) {
    for some in ids.chunks(10) {
        let items: Vec<Value> = some
            .iter()
            .map(|id| key_enrollment(id, KEY_1, KEY_2))
            .collect();
        let body = json!({ "enrollments": items, "mode": "create" });
        let answer = Answer::to(dps.service("POST", "/enrollments").json(&body)).await;
        assert_eq!(answer.json()["isSuccessful"], true, "{answer:?}");
    }
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("dev-{n:03}")).collect()
}

#[tokio::test]
async fn every_item_is_on_exactly_one_page() {
    let dps = Dps::start().await;
    let all = names(0..25);
    enroll(&dps, &all).await;
    for (count, sizes) in [
        (10, &[10, 10, 5][..]),
        (25, &[25]),
        (5, &[5; 5]),
        (1000, &[25]),
    ] {
        let pages = pages(&dps, "/enrollments/query", count, "registrationId").await;
        let found: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(found, sizes);
        assert_eq!(pages.concat(), all);
    }
}

#[tokio::test]
async fn a_page_has_the_services_headers_and_no_secrets() {
    let dps = Dps::start().await;
    for n in 0..2 {
        let (id, group) = (format!("dev-{n}"), format!("group-{n}"));
        dps.create(
            &format!("/enrollments/{id}"),
            &key_enrollment(&id, KEY_1, KEY_2),
        )
        .await;
        dps.create(
            &format!("/enrollmentGroups/{group}"),
            &key_group(&group, KEY_1, KEY_2),
        )
        .await;
    }
    dps.device("dev-0").key(KEY_1).assigned().await;
    for (path, kind, first) in [
        ("/enrollments/query", "Enrollment", "/enrollments/dev-0"),
        (
            "/enrollmentGroups/query",
            "EnrollmentGroup",
            "/enrollmentGroups/group-0",
        ),
    ] {
        let answer = page(&dps, path, Some(1), None).await;
        assert_eq!(answer.header("x-ms-item-type"), Some(kind));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-ms-max-item-count"), Some("1"));
        assert_eq!(
            answer.header("content-type"),
            Some("application/json; charset=utf-8")
        );
        assert!(answer.header("x-ms-continuation").is_some());

        let mut read = dps.get(first).await.json();
        assert_eq!(read["attestation"], json!({ "type": "symmetricKey" }));
        read.as_object_mut()
            .expect("a document")
            .shift_remove("registrationState");
        assert_eq!(answer.json(), json!([read]));
    }
}

#[tokio::test]
async fn an_empty_list_is_one_page() {
    let dps = Dps::start().await;
    for path in ["/enrollments/query", "/enrollmentGroups/query"] {
        let answer = page(&dps, path, None, None).await;
        assert_eq!(
            (answer.header("x-ms-continuation"), &*answer.text),
            (None, "[]")
        );
    }
}

#[tokio::test]
async fn a_page_has_100_items_by_default() {
    let dps = Dps::start().await;
    enroll(&dps, &names(0..101)).await;
    let first = page(&dps, "/enrollments/query", None, None).await;
    assert_eq!(ids(&first, "registrationId"), names(0..100));
    assert_eq!(first.header("x-ms-max-item-count"), Some("100"));
    let token = first.header("x-ms-continuation");
    let second = page(&dps, "/enrollments/query", None, token).await;
    assert_eq!(ids(&second, "registrationId"), names(100..101));
}

#[tokio::test]
async fn changes_between_pages_hide_and_repeat_no_item() {
    let dps = Dps::start().await;
    enroll(&dps, &names(10..20)).await;
    let first = page(&dps, "/enrollments/query", Some(5), None).await;
    assert_eq!(ids(&first, "registrationId"), names(10..15));

    // Before the place, at it, and after it.
    enroll(&dps, &["dev-000".to_owned(), "dev-016a".to_owned()]).await;
    for gone in ["dev-012", "dev-014", "dev-015", "dev-019"] {
        dps.delete(&format!("/enrollments/{gone}")).await;
    }
    let token = first.header("x-ms-continuation");
    let second = page(&dps, "/enrollments/query", Some(5), token).await;
    assert_eq!(
        ids(&second, "registrationId"),
        ["dev-016", "dev-016a", "dev-017", "dev-018"]
    );
    assert_eq!(second.header("x-ms-continuation"), None);
}

#[tokio::test]
async fn a_continuation_token_is_valid_after_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let start = || Dps::start_with(|builder| builder.data_dir(dir.path()));
    let dps = start().await;
    enroll(&dps, &names(0..6)).await;
    let first = page(&dps, "/enrollments/query", Some(3), None).await;
    dps.emulator.shutdown().await;

    let dps = start().await;
    let token = first.header("x-ms-continuation");
    let second = page(&dps, "/enrollments/query", Some(3), token).await;
    assert_eq!(ids(&second, "registrationId"), names(3..6));
}

#[tokio::test]
async fn a_thousand_enrollments_survive_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let start = || Dps::start_with(|builder| builder.data_dir(dir.path()));
    let all = names(0..1000);
    let dps = start().await;
    enroll(&dps, &all).await;
    dps.emulator.shutdown().await;

    let dps = start().await;
    let pages = pages(&dps, "/enrollments/query", 150, "registrationId").await;
    assert_eq!(pages.len(), 7);
    assert_eq!(pages.concat(), all);
}

#[tokio::test]
async fn a_wrong_count_or_token_is_refused() {
    let dps = Dps::start().await;
    enroll(&dps, &names(0..2)).await;
    let first = page(&dps, "/enrollments/query", Some(1), None).await;
    let token = first.header("x-ms-continuation").expect("there is more");
    for (path, header, value, message) in [
        (
            "/enrollments/query",
            "x-ms-max-item-count",
            "0",
            "The x-ms-max-item-count must be a whole number from 1, not '0'.",
        ),
        (
            "/enrollmentGroups/query",
            "x-ms-max-item-count",
            "many",
            "The x-ms-max-item-count must be a whole number from 1, not 'many'.",
        ),
        (
            "/enrollments/query",
            "x-ms-continuation",
            "nonsense",
            "The x-ms-continuation is not a continuation token of this query.",
        ),
        (
            "/enrollmentGroups/query",
            "x-ms-continuation",
            token,
            "The x-ms-continuation is not a continuation token of this query.",
        ),
        (
            "/registrations/g/query",
            "x-ms-continuation",
            token,
            "The x-ms-continuation is not a continuation token of this query.",
        ),
    ] {
        let request = dps.service("POST", path).header(header, value);
        let answer = Answer::to(request.json(&json!({ "query": "" }))).await;
        answer.assert_error(400_004, message);
    }
}

#[tokio::test]
async fn only_select_all_is_supported() {
    let dps = Dps::start().await;
    for path in ["/enrollments/query", "/enrollmentGroups/query"] {
        let ask = async |body: Value| Answer::to(dps.service("POST", path).json(&body)).await;
        for query in ["select *", "SELECT * FROM enrollments", "", "*"] {
            assert_eq!(ask(json!({ "query": query })).await.status, 200, "{query}");
        }
        let answer = ask(json!({ "query": "SELECT * WHERE registrationId = 'a'" })).await;
        answer.assert_error(
            400_004,
            "Only the query 'SELECT *' is supported, without conditions or projections.",
        );
        for body in [json!({}), json!({ "query": null }), json!("SELECT *")] {
            assert_eq!(ask(body.clone()).await.status, 400, "{body}");
        }
        let nothing = Answer::to(dps.service("POST", path)).await;
        assert_eq!(nothing.status, 415);
    }
}

#[tokio::test]
async fn a_groups_registrations_are_listed_in_pages() {
    let dps = Dps::start().await;
    for (group, key) in [("a", KEY_1), ("a-b", KEY_2)] {
        let path = format!("/enrollmentGroups/{group}");
        dps.create(&path, &key_group(group, key, KEY_3)).await;
    }
    dps.create("/enrollments/own", &key_enrollment("own", KEY_1, KEY_1))
        .await;
    let none = Answer::to(dps.service("POST", "/registrations/a/query")).await;
    assert_eq!((none.status, &*none.text), (200, "[]"));
    assert_eq!(none.header("x-ms-item-type"), Some("DeviceRegistration"));
    assert_eq!(none.header("x-content-type-options"), Some("nosniff"));

    for id in ["Dev-3", "dev-1", "dev-2"] {
        dps.device(id).key(&derive(KEY_1, id)).assigned().await;
    }
    dps.device("other")
        .key(&derive(KEY_2, "other"))
        .assigned()
        .await;
    dps.device("own").key(KEY_1).assigned().await;

    let pages = pages(&dps, "/registrations/A/query", 2, "registrationId").await;
    assert_eq!(pages, [vec!["dev-1", "dev-2"], vec!["Dev-3"]]);
    let all = Answer::to(dps.service("POST", "/registrations/a/query")).await;
    assert_eq!(all.json()[0], dps.get("/registrations/dev-1").await.json());

    dps.delete("/registrations/dev-2").await;
    let left = Answer::to(dps.service("POST", "/registrations/a/query")).await;
    assert_eq!(ids(&left, "registrationId"), ["dev-1", "Dev-3"]);
}

#[tokio::test]
async fn a_device_that_registers_through_another_group_is_listed_only_there() {
    let dps = Dps::start().await;
    let listed = async |group: &str| {
        let path = format!("/registrations/{group}/query");
        ids(
            &Answer::to(dps.service("POST", &path)).await,
            "registrationId",
        )
    };
    let key = derive(KEY_1, "dev-1");
    dps.create("/enrollmentGroups/a", &key_group("a", KEY_1, KEY_2))
        .await;
    dps.device("dev-1").key(&key).assigned().await;
    dps.delete("/enrollmentGroups/a").await;
    assert_eq!(listed("a").await, ["dev-1"], "the record stays");

    dps.create("/enrollmentGroups/b", &key_group("b", KEY_1, KEY_2))
        .await;
    dps.device("dev-1").key(&key).assigned().await;
    assert_eq!(listed("a").await, [""; 0]);
    assert_eq!(listed("b").await, ["dev-1"]);

    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", &key, KEY_2))
        .await;
    dps.device("dev-1").key(&key).assigned().await;
    assert_eq!(listed("b").await, [""; 0]);
}

#[tokio::test]
async fn a_list_contains_certificate_info_and_never_the_text() {
    let dps = Dps::start().await;
    let ca = dps_emulator::CertificateAuthority::new("Contoso Root").expect("a CA");
    dps.create(
        "/enrollmentGroups/g",
        &certificate_group("g", ca.certificate_pem()),
    )
    .await;
    let answer = page(&dps, "/enrollmentGroups/query", None, None).await;
    let shown = answer.json()[0]["attestation"]["x509"]["signingCertificates"].clone();
    assert_eq!(shown["primary"]["info"]["subjectName"], "CN=Contoso Root");
    assert_eq!(shown["primary"].get("certificate"), None);
    assert_eq!(shown["secondary"], shown["primary"]);
}
