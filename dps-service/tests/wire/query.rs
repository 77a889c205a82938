//! Queries: the requests for pages, and the continuation of a query.

use crate::support::{Action, Service, answer, answer_with};
use dps_service::{Continuation, ErrorKind, Pager, QuerySpecification, ServiceClient};
use dps_types::enrollment::IndividualEnrollment;
use futures_util::{StreamExt, TryStreamExt};

/// A page of enrollments with these ids and this continuation token.
fn page(ids: &[&str], next: Option<&str>) -> Action {
    let items: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"registrationId":"{id}","attestation":{{"type":"symmetricKey"}}}}"#))
        .collect();
    let next = next.map_or(String::new(), |next| {
        format!("\r\nx-ms-continuation: {next}")
    });
    let headers = format!("x-ms-item-type: Enrollment{next}");
    answer_with("200 OK", &headers, &format!("[{}]", items.join(",")))
}

fn query(dps: &ServiceClient) -> Pager<IndividualEnrollment> {
    dps.individual_enrollments()
        .query(QuerySpecification::default())
}

fn id(enrollment: IndividualEnrollment) -> String {
    enrollment.registration_id.to_string()
}

#[tokio::test]
async fn pages_follow_each_other_by_their_headers() {
    let service = Service::start([
        page(&["a", "b"], Some("eyJ0IjoiMSJ9")),
        page(&[], Some("eyJ0IjoiMiJ9")),
        page(&["c"], None),
    ])
    .await;
    let dps = service.client();
    let found: Vec<String> = query(&dps)
        .with_page_size(2)
        .map_ok(id)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(found, ["a", "b", "c"]);

    let seen = service.seen();
    let continuations: Vec<_> = seen
        .iter()
        .map(|seen| seen.header("x-ms-continuation"))
        .collect();
    assert_eq!(
        continuations,
        [None, Some("eyJ0IjoiMSJ9"), Some("eyJ0IjoiMiJ9")]
    );
    for seen in &seen {
        assert_eq!(
            seen.line,
            "POST /enrollments/query?api-version=2026-11-01 HTTP/1.1"
        );
        assert_eq!(seen.body, r#"{"query":"SELECT *"}"#);
        assert_eq!(
            seen.header("content-type"),
            Some("application/json; charset=utf-8")
        );
        assert_eq!(seen.header("x-ms-max-item-count"), Some("2"));
    }
}

#[tokio::test]
async fn each_kind_has_its_own_route_and_registrations_have_no_body() {
    let service = Service::start([
        answer("200 OK", "[]"),
        answer("200 OK", r#"[{"registrationId":"d"}]"#),
    ])
    .await;
    let dps = service.client();
    let group = dps
        .enrollment_groups()
        .query(QuerySpecification::default())
        .try_next()
        .await
        .unwrap();
    assert!(group.is_none());
    let mut registered = dps.registrations().in_group(&"toasters".parse().unwrap());
    let state = registered.try_next().await.unwrap().unwrap();
    assert_eq!(state.registration_id.unwrap().as_str(), "d");
    assert!(registered.try_next().await.unwrap().is_none());

    let seen = service.seen();
    assert_eq!(
        seen[0].line,
        "POST /enrollmentGroups/query?api-version=2026-11-01 HTTP/1.1"
    );
    assert_eq!(
        seen[1].line,
        "POST /registrations/toasters/query?api-version=2021-10-01 HTTP/1.1"
    );
    assert_eq!(seen[1].header("content-length"), Some("0"));
    assert_eq!(seen[1].header("content-type"), None);
    assert!(
        seen.iter()
            .all(|seen| seen.header("x-ms-max-item-count").is_none())
    );
}

#[tokio::test]
async fn a_request_for_a_page_is_retried() {
    let service = Service::start([
        answer_with("429 Too Many Requests", "retry-after: 0", ""),
        Action::HangUp,
        page(&["a"], None),
    ])
    .await;
    let found = query(&service.client()).try_next().await.unwrap();
    assert_eq!(found.map(id).as_deref(), Some("a"));
    assert_eq!(service.seen().len(), 3);
}

#[tokio::test]
async fn after_an_error_a_new_query_continues_where_this_one_ended() {
    let service = Service::start([
        page(&["a", "b"], Some("second")),
        answer("403 Forbidden", ""),
        page(&["c"], None),
    ])
    .await;
    let dps = service.client();
    let mut first = query(&dps);
    assert_eq!(first.continuation(), None);
    assert_eq!(
        first.try_next().await.unwrap().map(id).as_deref(),
        Some("a")
    );
    assert_eq!(first.continuation(), None, "b is still to come");
    first.try_next().await.unwrap();
    assert_eq!(first.continuation().unwrap().as_str(), "second");
    let error = first.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(first.next().await.is_none(), "ended");
    assert_eq!(service.seen().len(), 2);

    let kept = first.continuation().unwrap().to_string();
    let again = query(&dps).starting_at(kept.parse().unwrap());
    let found: Vec<String> = again.map_ok(id).try_collect().await.unwrap();
    assert_eq!(found, ["c"]);
    assert_eq!(
        service.only_one().header("x-ms-continuation"),
        Some("second")
    );
}

#[tokio::test]
async fn a_page_that_was_read_in_part_is_returned_again() {
    let service = Service::start([
        page(&["a"], Some("second")),
        page(&["b", "c"], Some("third")),
    ])
    .await;
    let dps = service.client();
    let mut first = query(&dps);
    first.try_next().await.unwrap();
    first.try_next().await.unwrap();
    assert_eq!(first.continuation().unwrap().as_str(), "second");
    first.try_next().await.unwrap();
    assert_eq!(first.continuation().unwrap().as_str(), "third");
}

#[tokio::test]
async fn results_can_be_read_page_by_page() {
    let service = Service::start([page(&["a", "b"], Some("second")), page(&[], None)]).await;
    let mut pages = query(&service.client()).pages();
    let first = pages.try_next().await.unwrap().unwrap();
    assert_eq!(first.items.len(), 2);
    assert_eq!(first.continuation, Some("second".parse().unwrap()));
    let last = pages.try_next().await.unwrap().unwrap();
    assert_eq!((last.items.len(), last.continuation), (0, None));
    assert_eq!(pages.try_next().await.unwrap(), None);
}

#[tokio::test]
async fn a_page_that_continues_with_itself_ends_the_query_with_an_error() {
    let service = Service::start([page(&["a"], Some("same")), page(&["b"], Some("same"))]).await;
    let dps = service.client();
    let mut found = query(&dps);
    found.try_next().await.unwrap();
    let error = found.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(found.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn an_invalid_continuation_token_is_an_error() {
    let service = Service::start([page(&["a"], Some("ü"))]).await;
    let error = query(&service.client()).try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn an_invalid_page_is_a_protocol_error() {
    for body in ["", "{}", r#"[{"registrationId":7}]"#] {
        let service = Service::start([answer("200 OK", body)]).await;
        let error = query(&service.client()).try_next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}");
    }
}

#[tokio::test]
async fn a_cancelled_wait_does_not_send_the_request_again() {
    let service = Service::start([Action::Silence]).await;
    let dps = service.client();
    let mut found = query(&dps);
    let arrived = async {
        while service.peek() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = found.try_next() => panic!("the service does not answer"),
        () = arrived => {}
    }
    let again = tokio::time::timeout(std::time::Duration::from_millis(50), found.try_next());
    assert!(again.await.is_err());
    service.only_one();
}

#[tokio::test]
async fn a_query_is_sent_as_it_was_specified() {
    let service = Service::start([page(&[], None)]).await;
    let query = QuerySpecification::new("SELECT * FROM enrollments");
    let dps = service.client();
    dps.individual_enrollments()
        .query(query)
        .try_next()
        .await
        .unwrap();
    assert_eq!(
        service.only_one().body,
        r#"{"query":"SELECT * FROM enrollments"}"#
    );
}

#[test]
fn a_continuation_token_must_be_valid_in_a_header() {
    let good: Continuation = "a b=".parse().unwrap();
    assert_eq!((good.as_str(), good.to_string().as_str()), ("a b=", "a b="));
    for text in ["", "a\r\nb", "ü"] {
        let error = text.parse::<Continuation>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text:?}");
    }
}

#[test]
fn queries_can_be_spawned() {
    fn spawnable<T: Send + 'static>(_: T) {}
    let text = format!(
        "HostName=localhost;SharedAccessKeyName=me;SharedAccessKey={}",
        crate::support::KEY
    );
    let dps = ServiceClient::from_connection_string(&text).unwrap();
    spawnable(query(&dps));
    spawnable(query(&dps).pages());
    spawnable(dps.registrations().all());
}
