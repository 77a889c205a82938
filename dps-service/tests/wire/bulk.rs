//! Bulk operations: the requests, and the outcome of each item.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Action, Seen, Service, answer, answer_with};
use dps_service::{BulkOutcome, ErrorKind};
use dps_types::BulkOperationMode;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::ApiVersion;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;

const DONE: &str = r#"{"errors":[],"isSuccessful":true}"#;

fn devices(number: usize) -> Vec<IndividualEnrollment> {
    (0..number).map(device).collect()
}

fn device(number: usize) -> IndividualEnrollment {
    IndividualEnrollment::symmetric_key(format!("d{number}").parse().expect("an id"))
}

/// The numbers of the devices in a request.
fn numbers(seen: &Seen) -> Vec<usize> {
    let body = seen.json();
    let items = body["enrollments"].as_array().expect("a list").clone();
    let number = |item: &serde_json::Value| item["registrationId"].as_str()?[1..].parse().ok();
    items
        .iter()
        .map(|item| number(item).expect("a number"))
        .collect()
}

/// The answer to a request in which some devices fail.
fn refusing(seen: &Seen, refused: &HashSet<usize>) -> Action {
    let failed = numbers(seen)
        .into_iter()
        .filter(|number| refused.contains(number));
    let errors: Vec<String> = failed
        .map(|n| format!(r#"{{"registrationId":"d{n}","errorCode":409201,"errorStatus":"Enrollment already exists."}}"#))
        .collect();
    let (list, good) = (errors.join(","), errors.is_empty());
    answer(
        "200 OK",
        &format!(r#"{{"errors":[{list}],"isSuccessful":{good}}}"#),
    )
}

fn kind<E>(outcome: &BulkOutcome<E>) -> Option<ErrorKind> {
    outcome.result.as_ref().err().map(dps_service::Error::kind)
}

#[tokio::test]
async fn each_mode_and_kind_has_its_request() {
    for (mode, word) in [
        (BulkOperationMode::Create, "create"),
        (BulkOperationMode::Update, "update"),
        (BulkOperationMode::UpdateIfMatchETag, "updateIfMatchETag"),
        (BulkOperationMode::Delete, "delete"),
    ] {
        let service = Service::start([answer("200 OK", DONE), answer("200 OK", DONE)]).await;
        let dps = service.client();
        let report = dps
            .individual_enrollments()
            .bulk(mode.clone())
            .run(devices(2));
        assert!(report.finish().await.is_successful());
        let group = EnrollmentGroup::symmetric_key("g".parse().unwrap());
        let report = dps
            .enrollment_groups()
            .bulk(mode)
            .run([group])
            .finish()
            .await;
        assert_eq!((report.succeeded, report.failed.len()), (1, 0));

        let seen = service.seen();
        assert_eq!(
            seen[0].line,
            "POST /enrollments?api-version=2021-10-01 HTTP/1.1"
        );
        assert_eq!(
            seen[0].body,
            format!(
                r#"{{"enrollments":[{{"registrationId":"d0","attestation":{{"type":"symmetricKey"}}}},{{"registrationId":"d1","attestation":{{"type":"symmetricKey"}}}}],"mode":"{word}"}}"#
            )
        );
        assert_eq!(
            seen[1].line,
            "POST /enrollmentGroups?api-version=2021-10-01 HTTP/1.1"
        );
        assert_eq!(
            seen[1].body,
            format!(
                r#"{{"enrollmentGroups":[{{"enrollmentGroupId":"g","attestation":{{"type":"symmetricKey"}}}}],"mode":"{word}"}}"#
            )
        );
        assert_eq!(seen[0].header("if-match"), None);
    }
}

#[tokio::test]
async fn without_items_nothing_is_sent() {
    let service = Service::start([]).await;
    let dps = service.client();
    let bulk = dps.individual_enrollments().bulk(BulkOperationMode::Create);
    assert!(bulk.run([]).next().await.is_none());
    assert!(service.seen().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_item_is_sent_once_in_tens_and_reported_in_its_order(
        refused in prop::collection::vec(any::<bool>(), 0..75),
        at_a_time in 0..6_usize,
        as_stream: bool,
    ) {
        let number = refused.len();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (outcomes, requests, progress) = runtime.block_on(async {
            let set: HashSet<usize> = (0..number).filter(|&n| refused[n]).collect();
            let service = Service::answering(move |seen| refusing(seen, &set)).await;
            let dps = service.client();
            let bulk = dps.individual_enrollments().bulk(BulkOperationMode::Create).with_concurrency(at_a_time);
            let mut run = match as_stream {
                true => bulk.run_stream(stream::iter(devices(number))),
                false => bulk.run(devices(number)),
            };
            let mut outcomes = Vec::new();
            while let Some(outcome) = run.next().await {
                outcomes.push(outcome);
                let progress = run.progress();
                assert_eq!(progress.succeeded + progress.failed, outcomes.len());
            }
            let requests: Vec<Vec<usize>> = service.seen().iter().map(numbers).collect();
            (outcomes, requests, run.progress())
        });
        prop_assert_eq!(outcomes.len(), number);
        for (n, outcome) in outcomes.iter().enumerate() {
            prop_assert_eq!(outcome.index, n);
            prop_assert_eq!(&outcome.item, &device(n));
            prop_assert_eq!(kind(outcome), refused[n].then_some(ErrorKind::Conflict));
        }
        prop_assert_eq!(progress.failed, refused.iter().filter(|refused| **refused).count());
        prop_assert_eq!(requests.len(), number.div_ceil(10));
        prop_assert!(requests.iter().all(|request| (1..=10).contains(&request.len())));
        let mut sent: Vec<usize> = requests.into_iter().flatten().collect();
        sent.sort_unstable();
        prop_assert_eq!(sent, (0..number).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_failed_request_stops_the_run_and_returns_the_remaining_items() {
    let service = Service::start([
        answer("200 OK", DONE),
        answer("401 Unauthorized", r#"{"errorCode":401002}"#),
    ])
    .await;
    let dps = service.client();
    let bulk = dps
        .individual_enrollments()
        .bulk(BulkOperationMode::Create)
        .with_concurrency(1);
    let outcomes: Vec<_> = bulk.run(devices(35)).collect().await;
    let kinds: Vec<_> = outcomes.iter().map(kind).collect();
    assert_eq!(kinds[..10], [None; 10]);
    assert_eq!(kinds[10..20], [Some(ErrorKind::Unauthorized); 10]);
    assert_eq!(kinds[20..], [Some(ErrorKind::NotAttempted); 15]);
    assert_eq!(service.seen().len(), 2);
    let error = outcomes[34].result.as_ref().unwrap_err();
    let source = std::error::Error::source(error).unwrap();
    assert!(source.to_string().contains("401"), "{source}");
}

#[tokio::test]
async fn unfinished_items_can_be_run_again() {
    let service = Service::start([
        answer("200 OK", r#"{"errors":[{"registrationId":"d3","errorCode":409201,"errorStatus":"Enrollment already exists."}],"isSuccessful":false}"#),
        answer_with("503 Service Unavailable", "retry-after: 3600", ""),
        answer("200 OK", DONE),
        answer("200 OK", DONE),
    ])
    .await;
    let dps = service.client();
    let bulk = dps
        .individual_enrollments()
        .bulk(BulkOperationMode::Create)
        .with_concurrency(1);
    let report = bulk.run(devices(25)).finish().await;
    assert_eq!((report.succeeded, report.failed.len()), (9, 16));
    assert_eq!(report.failed[0].index, 3);
    assert!(report.failed[0].is_refused() && !report.failed[1].is_refused());
    assert_eq!(kind(&report.failed[1]), Some(ErrorKind::Service));

    let rest: Vec<_> = report.into_unfinished().collect();
    assert_eq!(rest, devices(25)[10..]);
    service.seen();
    let report = bulk.run(rest).finish().await;
    assert_eq!((report.succeeded, report.is_successful()), (15, true));
    let sent: Vec<usize> = service.seen().iter().flat_map(numbers).collect();
    assert_eq!(sent, (10..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn if_items_are_refused_together_only_the_invalid_item_fails() {
    for status in ["400 Bad Request", "413 Payload Too Large"] {
        let service = Service::answering(move |seen| match numbers(seen).contains(&3) {
            true => answer(status, r#"{"errorCode":400004,"message":"No."}"#),
            false => answer("200 OK", DONE),
        })
        .await;
        let dps = service.client();
        let bulk = dps
            .individual_enrollments()
            .bulk(BulkOperationMode::Create)
            .with_concurrency(1);
        let report = bulk.run(devices(12)).finish().await;
        assert_eq!((report.succeeded, report.failed.len()), (11, 1), "{status}");
        assert_eq!(report.failed[0].index, 3);
        assert_eq!(kind(&report.failed[0]), Some(ErrorKind::Invalid));
        assert!(report.failed[0].is_refused());
        let sent: Vec<Vec<usize>> = service.seen().iter().map(numbers).collect();
        assert_eq!(sent[0], (0..10).collect::<Vec<_>>());
        assert_eq!(sent[1..11], (0..10).map(|n| vec![n]).collect::<Vec<_>>());
        assert_eq!(sent[11..], [[10, 11]]);
    }
}

#[tokio::test]
async fn an_error_that_no_item_can_cause_is_not_retried_item_by_item() {
    let service =
        Service::start([answer("405 Method Not Allowed", ""), answer("200 OK", DONE)]).await;
    let dps = service.client();
    let bulk = dps
        .individual_enrollments()
        .bulk(BulkOperationMode::Create)
        .with_concurrency(1);
    let report = bulk.run(devices(12)).finish().await;
    assert_eq!((report.succeeded, report.failed.len()), (2, 10));
    assert_eq!(service.seen().len(), 2);
}

#[tokio::test]
async fn after_a_lost_answer_an_item_that_exists_is_in_doubt() {
    let exists = r#"{"errors":[{"registrationId":"d0","errorCode":409201,"errorStatus":"Enrollment already exists."}],"isSuccessful":false}"#;
    let service = Service::start([
        Action::HangUp,
        answer("200 OK", exists),
        answer("200 OK", exists),
    ])
    .await;
    let dps = service.client();
    let bulk = dps.individual_enrollments().bulk(BulkOperationMode::Create);
    for doubt in [true, false] {
        let report = bulk.run(devices(2)).finish().await;
        assert_eq!((report.succeeded, report.failed.len()), (1, 1));
        let error = report.failed[0].result.as_ref().unwrap_err();
        assert_eq!(
            (error.kind(), error.is_in_doubt()),
            (ErrorKind::Conflict, doubt)
        );
    }
    assert_eq!(service.seen().len(), 3);
}

#[tokio::test]
async fn after_a_lost_answer_a_missing_item_is_deleted() {
    let gone = r#"{"errors":[{"registrationId":"d0","errorCode":404201,"errorStatus":"Enrollment not found."}],"isSuccessful":false}"#;
    let service = Service::start([
        Action::HangUp,
        answer("200 OK", gone),
        answer("200 OK", gone),
    ])
    .await;
    let dps = service.client();
    let bulk = dps.individual_enrollments().bulk(BulkOperationMode::Delete);
    assert!(bulk.run(devices(1)).finish().await.is_successful());
    let report = bulk.run(devices(1)).finish().await;
    assert_eq!(kind(&report.failed[0]), Some(ErrorKind::NotFound));
}

#[tokio::test]
async fn a_throttled_request_is_retried() {
    let service = Service::start([
        answer_with("429 Too Many Requests", "retry-after: 0", ""),
        answer("200 OK", DONE),
    ])
    .await;
    let dps = service.client();
    let bulk = dps.individual_enrollments().bulk(BulkOperationMode::Create);
    assert!(bulk.run(devices(10)).finish().await.is_successful());
    assert_eq!(service.seen().len(), 2);
}

#[tokio::test]
async fn an_item_that_the_api_version_does_not_support_is_not_sent_but_the_others_are() {
    let service = Service::start([answer("200 OK", DONE)]).await;
    let dps = service.client().with_api_version(ApiVersion::V2021_10_01);
    let mut items = devices(3);
    items[1].credential_policy_name = Some("short-lived".to_owned());
    let bulk = dps.individual_enrollments().bulk(BulkOperationMode::Create);
    let outcomes: Vec<_> = bulk.run(items.clone()).collect().await;
    let kinds: Vec<_> = outcomes.iter().map(kind).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::Unsupported), None]);
    assert!(outcomes.iter().map(|outcome| &outcome.item).eq(&items));
    assert_eq!(numbers(&service.only_one()), [0, 2]);

    let older = dps.with_api_version(ApiVersion::V2019_03_31);
    let group = EnrollmentGroup::symmetric_key("g".parse().unwrap());
    let bulk = older.enrollment_groups().bulk(BulkOperationMode::Create);
    let report = bulk.run([group]).finish().await;
    assert_eq!(kind(&report.failed[0]), Some(ErrorKind::Unsupported));
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn items_that_require_a_newer_api_version_have_a_request_of_their_own() {
    let mut items = devices(3);
    items[1] = items[1].clone().issue_certificates(
        "contoso-devices".parse().unwrap(),
        "Factory-CA".parse().unwrap(),
        "thirty-days".parse().unwrap(),
    );
    let service = Service::start([answer("200 OK", DONE), answer("200 OK", DONE)]).await;
    let dps = service.client();
    let devices = dps.individual_enrollments();
    let mut run = devices.bulk(BulkOperationMode::Create).run(items);
    let mut order = Vec::new();
    while let Some(outcome) = run.next().await {
        outcome.result.unwrap();
        order.push(outcome.item.registration_id.to_string());
    }
    assert_eq!(order, ["d0", "d1", "d2"]);
    let seen = service.seen();
    let requests: Vec<_> = seen
        .iter()
        .map(|seen| (seen.line.as_str(), numbers(seen)))
        .collect();
    assert_eq!(
        requests,
        [
            (
                "POST /enrollments?api-version=2021-10-01 HTTP/1.1",
                vec![0, 2]
            ),
            ("POST /enrollments?api-version=2026-11-01 HTTP/1.1", vec![1]),
        ]
    );
}

#[tokio::test]
async fn after_an_invalid_answer_every_item_is_in_doubt() {
    let service = Service::start([answer("200 OK", "[]")]).await;
    let dps = service.client();
    let bulk = dps.individual_enrollments().bulk(BulkOperationMode::Create);
    let report = bulk.run(devices(2)).finish().await;
    for failed in &report.failed {
        let error = failed.result.as_ref().unwrap_err();
        assert_eq!(
            (error.kind(), error.is_in_doubt()),
            (ErrorKind::Protocol, true)
        );
    }
    assert_eq!(report.failed.len(), 2);
}

#[tokio::test]
async fn items_are_read_as_they_are_needed_and_none_after_the_run_is_dropped() {
    let service = Service::answering(|_| answer("200 OK", DONE)).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let endless = (0..).map(move |number| {
        counter.fetch_add(1, Ordering::SeqCst);
        device(number)
    });
    let dps = service.client();
    let bulk = dps
        .individual_enrollments()
        .bulk(BulkOperationMode::Create)
        .with_concurrency(2);
    let mut run = bulk.run(endless);
    assert!(run.next().await.unwrap().result.is_ok());
    assert!(taken.load(Ordering::SeqCst) <= 30, "{taken:?}");
    drop(run);
    let (before, sent) = (taken.load(Ordering::SeqCst), service.seen().len());
    assert!(sent <= 3, "{sent}");
    tokio::task::yield_now().await;
    assert_eq!(taken.load(Ordering::SeqCst), before);
}

#[test]
fn runs_can_be_spawned() {
    fn spawnable<T: Send + 'static>(_: T) {}
    let text = format!(
        "HostName=localhost;SharedAccessKeyName=me;SharedAccessKey={}",
        crate::support::KEY
    );
    let dps = dps_service::ServiceClient::from_connection_string(&text).unwrap();
    let bulk = dps.individual_enrollments().bulk(BulkOperationMode::Create);
    spawnable(bulk.run(devices(1)));
    spawnable(bulk.run(devices(1)).finish());
}
