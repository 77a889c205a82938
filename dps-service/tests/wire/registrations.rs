//! Registration records across groups, and their conditional deletion.

use crate::support::{Action, Seen, Service, answer};
use dps_service::{ErrorKind, FoundRegistration};
use futures_util::{StreamExt, TryStreamExt};

fn record(id: &str) -> String {
    format!(r#"{{"registrationId":"{id}","status":"assigned"}}"#)
}

/// Two groups, one of which is deleted after it was listed, and two individual enrollments, one of which never registered.
fn instance(seen: &Seen) -> Action {
    let path = seen.line.split(['?', ' ']).nth(1).unwrap_or_default();
    let group =
        |id| format!(r#"{{"enrollmentGroupId":"{id}","attestation":{{"type":"symmetricKey"}}}}"#);
    let device =
        |id| format!(r#"{{"registrationId":"{id}","attestation":{{"type":"symmetricKey"}}}}"#);
    let gone = |code| answer("404 Not Found", &format!(r#"{{"errorCode":{code}}}"#));
    match path {
        "/enrollmentGroups/query" => answer(
            "200 OK",
            &format!("[{},{}]", group("toasters"), group("gone")),
        ),
        "/registrations/toasters/query" => {
            answer("200 OK", &format!("[{},{}]", record("t-1"), record("t-2")))
        }
        "/registrations/gone/query" => gone(404_202),
        "/enrollments/query" => answer("200 OK", &format!("[{},{}]", device("new"), device("i-1"))),
        "/registrations/new" => gone(404_203),
        "/registrations/i-1" => answer("200 OK", &record("i-1")),
        _ => answer("418 I'm a teapot", ""),
    }
}

fn names(found: &FoundRegistration) -> (Option<String>, String) {
    let group = found.group.as_ref().map(ToString::to_string);
    (
        group,
        found
            .state
            .registration_id
            .as_ref()
            .expect("an id")
            .to_string(),
    )
}

/// Azure/azure-iot-sdk-csharp#424 and Azure/azure-iot-sdk-node#972: no other SDK lists across groups.
#[tokio::test]
async fn issue_csharp_424_node_972_all_records_are_found_across_groups_and_individuals() {
    let service = Service::answering(instance).await;
    let all = service.client().registrations().all();
    let found: Vec<FoundRegistration> = all.try_collect().await.unwrap();
    let found: Vec<_> = found.iter().map(names).collect();
    let toasters = || Some("toasters".to_owned());
    assert_eq!(
        found,
        [
            (toasters(), "t-1".to_owned()),
            (toasters(), "t-2".to_owned()),
            (None, "i-1".to_owned())
        ]
    );
}

#[tokio::test]
async fn the_search_ends_after_an_error() {
    let service = Service::answering(|seen| match seen.line.contains("/registrations/toasters") {
        true => answer("403 Forbidden", ""),
        false => instance(seen),
    })
    .await;
    let dps = service.client();
    let mut all = dps.registrations().all();
    let error = all.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(all.next().await.is_none());
    assert!(
        !service
            .seen()
            .iter()
            .any(|seen| seen.line.contains("/enrollments/query"))
    );
}

#[tokio::test]
async fn a_record_can_be_deleted_conditionally() {
    let service = Service::start([
        answer("204 No Content", ""),
        answer("412 Precondition Failed", ""),
    ])
    .await;
    let dps = service.client();
    let (id, etag) = ("dev-1".parse().unwrap(), "IjAi".parse().unwrap());
    dps.registrations()
        .delete_if_match(&id, &etag)
        .await
        .unwrap();
    let error = dps.registrations().delete_if_match(&id, &etag).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::PreconditionFailed);
    for seen in service.seen() {
        assert_eq!(
            seen.line,
            "DELETE /registrations/dev-1?api-version=2021-10-01 HTTP/1.1"
        );
        assert_eq!(seen.header("if-match"), Some("IjAi"));
    }
}
