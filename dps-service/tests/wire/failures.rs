//! Failures: the kind of error, its text, and the retries.

use std::error::Error as _;
use std::time::Duration;

use crate::support::{Action, KEY, Service, answer, answer_with};
use dps_service::{Error, ErrorKind, ServiceClient};
use dps_types::enrollment::EnrollmentGroup;
use dps_types::{EnrollmentGroupId, ErrorCode};
use tokio::net::TcpListener;

const STORED: &str =
    r#"{"enrollmentGroupId":"toasters","attestation":{"type":"symmetricKey"},"etag":"IjAi"}"#;

fn toasters() -> EnrollmentGroup {
    serde_json::from_str(STORED).expect("a group")
}

fn id() -> EnrollmentGroupId {
    "toasters".parse().expect("a group id")
}

async fn get(dps: &ServiceClient) -> Result<EnrollmentGroup, Error> {
    dps.enrollment_groups().get(&id()).await
}

/// The result of `get` with these actions, and the number of requests.
async fn get_from(
    script: impl IntoIterator<Item = Action>,
) -> (Result<EnrollmentGroup, Error>, usize) {
    let service = Service::start(script).await;
    let result = get(&service.client()).await;
    (result, service.seen().len())
}

#[tokio::test]
async fn each_error_status_has_its_kind_and_is_not_retried() {
    for (status, kind) in [
        ("401 Unauthorized", ErrorKind::Unauthorized),
        ("403 Forbidden", ErrorKind::Forbidden),
        ("404 Not Found", ErrorKind::NotFound),
        ("405 Method Not Allowed", ErrorKind::Invalid),
        ("409 Conflict", ErrorKind::Conflict),
        ("412 Precondition Failed", ErrorKind::PreconditionFailed),
        ("415 Unsupported Media Type", ErrorKind::Invalid),
        ("304 Not Modified", ErrorKind::Protocol),
        ("501 Not Implemented", ErrorKind::Unsupported),
    ] {
        let (result, requests) = get_from([answer(status, "")]).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), requests), (kind, 1), "{status}");
        assert_eq!(error.status().unwrap().to_string(), status[..3]);
        assert!(!error.is_retryable());
        let text = error.to_string();
        let expected = match kind {
            ErrorKind::Protocol => format!("the answer is a redirect with status {status}"),
            _ => format!("the service answered {status}"),
        };
        assert!(text.starts_with(&expected), "{text}");
    }
}

/// The first one may refuse the api-version, so the read is sent again with the default one.
#[tokio::test]
async fn a_bad_request_is_an_invalid_one() {
    let refused = || answer("400 Bad Request", "");
    let (result, requests) = get_from([refused(), refused()]).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), requests), (ErrorKind::Invalid, 2));
    assert_eq!(error.status(), Some(400));
    assert!(!error.is_retryable());
    assert_eq!(error.to_string(), "the service answered 400 Bad Request");
}

#[tokio::test]
async fn error_code_and_tracking_id_are_read_from_headers_if_the_body_has_none() {
    let headers = "x-ms-error-code: 404202\r\nx-ms-request-id: 8ad0463c";
    let (result, _) = get_from([answer_with("404 Not Found", headers, "Not found.")]).await;
    let error = result.unwrap_err();
    let details = error.error_details().unwrap();
    assert_eq!(
        details.error_code,
        Some(ErrorCode::ENROLLMENT_GROUP_NOT_FOUND)
    );
    assert_eq!(details.tracking_id.as_deref(), Some("8ad0463c"));
    assert!(error.to_string().contains("there is no enrollment group"));
}

/// A proxy, a firewall or a login page in between answers like this.
#[tokio::test]
async fn an_html_page_is_not_an_answer_of_the_service() {
    let page = "<html><body>Blocked by your administrator</body></html>";
    for status in [
        "200 OK",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "409 Conflict",
    ] {
        for (header, body) in [
            ("content-type: text/html; charset=utf-8", page),
            ("content-type: Text/HTML", "Blocked"),
            ("content-type: application/json", "\u{feff} <!DOCTYPE html>"),
            ("x-other: 1", page),
        ] {
            let (result, requests) = get_from([answer_with(status, header, body)]).await;
            let error = result.unwrap_err();
            let text = error.to_string();
            assert_eq!((error.kind(), requests), (ErrorKind::Protocol, 1), "{text}");
            assert!(
                text.contains("HTML page") && text.contains(&status[..3]),
                "{text}"
            );
            assert!(
                text.contains("a proxy, a firewall or a login page"),
                "{text}"
            );
            assert!(!text.contains("shared access policy"), "{text}");
        }
    }
    // A gateway in front of the service: a retry may succeed.
    for status in [
        "502 Bad Gateway",
        "503 Service Unavailable",
        "429 Too Many Requests",
    ] {
        let html = answer_with(status, "content-type: text/html\r\nretry-after: 0", page);
        let (result, requests) = get_from([html, answer("200 OK", STORED)]).await;
        assert_eq!((result.is_ok(), requests), (true, 2), "{status}");
    }
}

/// .NET often writes a byte order mark in front of JSON.
#[tokio::test]
async fn a_byte_order_mark_is_skipped() {
    let (result, _) = get_from([answer("200 OK", &format!("\u{feff}{STORED}"))]).await;
    assert_eq!(result.unwrap().enrollment_group_id, id());
    let details = "\u{feff}{\"errorCode\":404202,\"message\":\"Gone.\"}";
    let (result, _) = get_from([answer("404 Not Found", details)]).await;
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("Gone. (error code 404202)")
    );
}

/// As the service's own JSON readers do it.
#[tokio::test]
async fn the_last_of_several_members_counts() {
    let several = STORED.replacen('{', r#"{"enrollmentGroupId":"other","#, 1);
    let (result, _) = get_from([answer("200 OK", &several)]).await;
    assert_eq!(result.unwrap().enrollment_group_id, id());
    let details = r#"{"errorCode":404001,"ErrorCode":404202,"message":"Here.","message":"Gone."}"#;
    let (result, _) = get_from([answer("404 Not Found", details)]).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("Gone. (error code 404202)"), "{error}");
}

/// The hints of the device client would be wrong here.
#[tokio::test]
async fn the_hints_are_for_an_operator() {
    for (status, body, hint) in [
        (
            "401 Unauthorized",
            r#"{"errorCode":401002}"#,
            "key and permissions of the shared access policy",
        ),
        (
            "401 Unauthorized",
            "",
            "key and permissions of the shared access policy",
        ),
        (
            "409 Conflict",
            r#"{"errorCode":409202}"#,
            "create_or_replace",
        ),
        (
            "412 Precondition Failed",
            r#"{"errorCode":412001}"#,
            "use modify",
        ),
    ] {
        let (result, _) = get_from([answer(status, body)]).await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains(hint), "{text}");
        assert!(
            !text.contains("If-Match") && !text.contains("id scope"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_unknown_issuer_points_to_with_roots() {
    let (service, other) = (Service::start([]).await, Service::start([]).await);
    let error = get(&service.client().with_roots(other.roots()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(
        error.to_string().contains("ServiceClient::with_roots"),
        "{error}"
    );
    let chain = format!("{error:#}");
    assert!(chain.starts_with(&error.to_string()), "{chain}");
    assert!(chain.len() > error.to_string().len(), "{chain}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let service = Service::start([]).await;
    let elsewhere = format!("location: https://{}/stolen", service.host());
    let (result, requests) =
        get_from([answer_with("307 Temporary Redirect", &elsewhere, "")]).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(requests, 1);
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_not_the_document_is_a_protocol_error_that_quotes_nothing() {
    let secret = format!(r#"{{"enrollmentGroupId":"toasters","attestation":"{KEY}"}}"#);
    for body in ["", "<html>", "[]", &secret] {
        let (result, requests) = get_from([answer("200 OK", body)]).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), requests), (ErrorKind::Protocol, 1), "{body}");
        assert!(!format!("{error} {error:?}").contains(KEY));
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_a_protocol_error() {
    let (result, _) = get_from([answer("200 OK", &" ".repeat(4 * 1024 * 1024 + 1))]).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn an_error_answer_over_the_limit_keeps_its_status() {
    let endless = Action::Answer(format!(
        "HTTP/1.1 404 Not Found\r\ncontent-length: 999999999\r\n\r\n{}",
        " ".repeat(5 << 20)
    ));
    let (result, requests) = get_from([endless]).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_request() {
    let service = Service::start([]).await;
    let other = Service::start([]).await;
    let wrong_name = service
        .connection_string()
        .replace("localhost", "127.0.0.1");
    let wrong_name = ServiceClient::from_connection_string(&wrong_name)
        .unwrap()
        .with_roots(service.roots());
    for dps in [service.client().with_roots(other.roots()), wrong_name] {
        let error = get(&dps).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls);
        assert!(!error.is_retryable());
        assert!(error.source().is_some());
    }
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn a_service_that_does_not_listen_cannot_be_reached() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let text = format!("HostName=localhost:{port};SharedAccessKeyName=me;SharedAccessKey={KEY}");
    let service = Service::start([]).await;
    let dps = ServiceClient::from_connection_string(&text)
        .unwrap()
        .with_roots(service.roots())
        .with_timeout(Duration::from_secs(1));
    let error = get(&dps).await.unwrap_err();
    assert!(error.is_retryable());
    // If the deadline interrupts an attempt, the error of the attempt before it is the source, if there was one.
    match error.kind() {
        ErrorKind::Deadline => {
            if let Some(source) = error.source() {
                assert_eq!(source.to_string(), "the service cannot be reached");
            }
        }
        kind => assert_eq!(kind, ErrorKind::Connect),
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_ends_at_the_timeout() {
    let service = Service::start([Action::Silence]).await;
    let dps = service.client().with_timeout(Duration::from_secs(1));
    let error = get(&dps).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    service.only_one();
}

#[tokio::test]
async fn an_invalid_host_name_is_refused() {
    for host in [
        "",
        "local host",
        "user@localhost",
        "localhost?a=b",
        "localhost:port",
    ] {
        let text = format!("HostName={host};SharedAccessKeyName=me;SharedAccessKey={KEY}");
        let error = ServiceClient::from_connection_string(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{host}");
    }
}

#[tokio::test]
async fn a_request_that_was_not_carried_out_is_always_retried() {
    for (status, kind) in [
        ("429 Too Many Requests", ErrorKind::Throttled),
        ("503 Service Unavailable", ErrorKind::Service),
    ] {
        let service = Service::start([
            answer_with(status, "retry-after: 0", ""),
            answer("200 OK", STORED),
            answer_with(status, "retry-after: 61", r#"{"errorCode":429001}"#),
        ])
        .await;
        let dps = service.client();
        let groups = dps.enrollment_groups();
        groups.create(&toasters()).await.unwrap();
        assert_eq!(service.seen().len(), 2, "{status}");

        let error = groups.create(&toasters()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(61)));
        assert!(error.is_retryable());
        service.only_one();
    }
}

#[tokio::test]
async fn in_doubt_only_idempotent_requests_are_retried() {
    let lost = || [Action::HangUp, answer("200 OK", STORED)];
    let failed = || {
        [
            answer("500 Internal Server Error", ""),
            answer("200 OK", STORED),
        ]
    };
    for (script, kind) in [
        (lost as fn() -> [Action; 2], ErrorKind::Connect),
        (failed, ErrorKind::Service),
    ] {
        assert!(matches!(get_from(script()).await, (Ok(_), 2)));

        let service = Service::start(script()).await;
        let dps = service.client();
        let groups = dps.enrollment_groups();
        groups.create_or_replace(&toasters()).await.unwrap();
        assert_eq!(service.seen().len(), 2);

        let service = Service::start(script().into_iter().chain(script())).await;
        let dps = service.client();
        let error = dps.enrollment_groups().create(&toasters()).await;
        assert_eq!(error.unwrap_err().kind(), kind);
        service.only_one();
    }

    let service = Service::start([Action::HangUp]).await;
    let dps = service.client();
    let error = dps.enrollment_groups().update(&toasters()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Connect);
    service.only_one();
}

#[tokio::test]
async fn an_enrollment_that_is_missing_after_a_lost_answer_is_deleted() {
    let gone = || answer("404 Not Found", r#"{"errorCode":404202}"#);
    let service = Service::start([Action::HangUp, gone(), gone()]).await;
    let dps = service.client();
    dps.enrollment_groups().delete(&id()).await.unwrap();
    assert_eq!(service.seen().len(), 2);

    let error = dps.enrollment_groups().delete(&id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn no_secret_is_in_debug_output_or_errors() {
    let service = Service::start([answer("401 Unauthorized", ""), Action::HangUp]).await;
    let dps = service.client();
    let mut texts = vec![
        format!("{dps:?} {:?}", dps.enrollment_groups()),
        format!("{:?}", dps.registrations()),
    ];
    for error in [
        get(&dps).await.unwrap_err(),
        dps.enrollment_groups()
            .create(&toasters())
            .await
            .unwrap_err(),
        ServiceClient::from_connection_string(&format!("SharedAccessKey={KEY}")).unwrap_err(),
        ServiceClient::from_connection_string(&format!(
            "HostName=a b;SharedAccessKeyName=me;SharedAccessKey={KEY}"
        ))
        .unwrap_err(),
    ] {
        texts.push(format!("{error} {error:?}"));
        let mut cause = error.source();
        while let Some(error) = cause {
            texts.push(format!("{error} {error:?}"));
            cause = error.source();
        }
    }
    let text = texts.join("\n");
    assert!(text.contains("ServiceClient") && text.contains("401"));
    assert!(!text.contains(KEY) && !text.contains("sig="), "{text}");
}

#[tokio::test]
async fn the_roots_of_the_system_do_not_trust_a_self_signed_certificate() {
    let service = Service::start([]).await;
    let error = get(&service.client_without_roots()).await.unwrap_err();
    let expected = [ErrorKind::Tls, ErrorKind::InvalidConfiguration];
    assert!(expected.contains(&error.kind()), "{error:?}");
    assert!(service.seen().is_empty());
}
