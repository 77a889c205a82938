//! Queries with pages and continuation tokens.

use crate::{Emulator, Kind, Operator, ServiceSdk};
use serde_json::{Value, json};

use super::{enrollment, group};

pub(crate) async fn every_enrollment_is_listed_once(sdk: ServiceSdk) {
    every_one_is_seen_once(
        sdk,
        Kind::Enrollments,
        enrollment,
        "SELECT * FROM enrollments",
    )
    .await;
}

pub(crate) async fn every_group_is_listed_once(sdk: ServiceSdk) {
    every_one_is_seen_once(
        sdk,
        Kind::EnrollmentGroups,
        group,
        "SELECT * FROM enrollmentGroups",
    )
    .await;
}

async fn every_one_is_seen_once(
    sdk: ServiceSdk,
    kind: Kind,
    document: fn(&str, &Value) -> Value,
    from: &str,
) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    let none = operator
        .query(kind, json!({ "query": from, "pageSize": 3 }))
        .await
        .unwrap();
    assert_eq!((ids(&none.pages), none.continuation), (vec![], None));

    let all = create_seven(&mut operator, kind, document).await;
    for (page_size, lengths) in [(3, vec![3, 3, 1]), (1, vec![1; 7]), (100, vec![7])] {
        for query in [from, "select *"] {
            let asked = json!({ "query": query, "pageSize": page_size });
            let found = operator.query(kind, asked).await.unwrap();
            let found_lengths: Vec<usize> = found.pages.iter().map(Vec::len).collect();
            assert_eq!(found_lengths, lengths, "{query}");
            assert_eq!(
                sorted(ids(&found.pages)),
                all,
                "{query}, {page_size} a page"
            );
            assert_eq!(found.continuation, None);
        }
    }
    // The page size equals the number of items: the next page, if there is one, is empty.
    let found = operator
        .query(kind, json!({ "query": from, "pageSize": 7 }))
        .await
        .unwrap();
    assert_eq!(sorted(ids(&found.pages)), all);
    let found = operator
        .query(kind, json!({ "query": from }))
        .await
        .unwrap();
    assert_eq!(sorted(ids(&found.pages)), all, "without a page size");
    emulator.stop().await;
}

/// A continuation token also works in another client process.
pub(crate) async fn a_query_continues_where_it_stopped(sdk: ServiceSdk) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    let all = create_seven(&mut operator, Kind::Enrollments, enrollment).await;

    let asked = json!({ "query": "SELECT *", "pageSize": 3, "pages": 1 });
    let start = operator.query(Kind::Enrollments, asked).await.unwrap();
    let mut seen = ids(&start.pages);
    assert_eq!(seen.len(), 3);
    drop(operator);

    let mut operator = sdk.owner(&emulator);
    let asked = json!({ "query": "SELECT *", "pageSize": 3, "continuation": start.continuation });
    let rest = operator.query(Kind::Enrollments, asked).await.unwrap();
    seen.extend(ids(&rest.pages));
    assert_eq!(sorted(seen), all);

    let asked = json!({ "query": "SELECT *", "continuation": "no token of the service" });
    let lost = operator.query(Kind::Enrollments, asked).await;
    assert_eq!(lost.unwrap_err().status, Some(400));
    emulator.stop().await;
}

pub(crate) async fn an_unknown_query(sdk: ServiceSdk) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    for query in [
        "SELECT * FROM enrollments WHERE registrationId = 'a'",
        "SELECT registrationId",
        "all",
    ] {
        let found = operator
            .query(Kind::Enrollments, json!({ "query": query }))
            .await;
        assert_eq!(found.unwrap_err().status, Some(400), "{query}");
    }
    emulator.stop().await;
}

/// Returns the ids in order.
async fn create_seven(
    operator: &mut Operator,
    kind: Kind,
    document: fn(&str, &Value) -> Value,
) -> Vec<String> {
    let all: Vec<String> = (1..=7).map(|n| format!("pump-{n}")).collect();
    for id in &all {
        operator
            .put(kind, &document(id, &json!({})), None)
            .await
            .unwrap();
    }
    all
}

fn ids(pages: &[Vec<Value>]) -> Vec<String> {
    let id = |item: &Value| {
        let id = item
            .get("registrationId")
            .or_else(|| item.get("enrollmentGroupId"));
        id.and_then(Value::as_str).expect("an id").to_owned()
    };
    pages.iter().flatten().map(id).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}
