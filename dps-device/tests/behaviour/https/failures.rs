//! Failures between the device and the service.

use std::time::Duration;

use dps_device::ErrorKind;
use tokio::net::TcpListener;

use super::server::{Answer, Server, json as answer};
use super::{client, client_of};
use crate::first_failure::first_failure;
use crate::pki::Pki;
use crate::script::{ASSIGNED, ASSIGNING};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_refused_connection_is_a_connect_failure() {
    let pki = Pki::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = first_failure(&client_of("my-device", &pki, port)).await;
    assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
}

#[tokio::test]
async fn an_unknown_host_is_a_connect_failure() {
    let pki = Pki::new();
    // Reserved for names that never exist: RFC 2606.
    let client = client_of("my-device", &pki, 443)
        .with_host("dps.invalid".parse::<dps_device::Host>().unwrap());
    let error = client.register().timeout(2 * SECOND).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    if let Some(failure) = error.last_failure() {
        assert_eq!(failure.kind(), ErrorKind::Connect);
    }
}

#[tokio::test]
async fn a_lost_connection_is_replaced() {
    let pki = Pki::new();
    let half = Answer::Cut(
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{\"operationId\":".to_vec(),
    );
    let mut server = Server::start(
        pki.server(false),
        [
            Answer::Cut(Vec::new()),
            half,
            answer(202, "Connection: close\r\n", ASSIGNING),
            answer(200, "", ASSIGNED),
        ],
    )
    .await;
    client(&pki, &server).register().await.unwrap();
    for method in ["PUT", "PUT", "PUT", "GET"] {
        let line = loop {
            if let super::server::Seen::Request(request) = server.next().await {
                break request.line;
            }
        };
        assert!(line.starts_with(method), "{line}");
    }
}

#[tokio::test]
async fn a_slow_server_ends_at_the_deadline() {
    let pki = Pki::new();
    let mut server = Server::start(pki.server(false), [Answer::Silence]).await;
    let register = client(&pki, &server).register().timeout(2 * SECOND);
    let error = register.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    server.request().await;
    server.closed().await;
}

#[tokio::test]
async fn a_server_that_never_finishes_its_answer_ends_at_the_deadline() {
    let pki = Pki::new();
    let half = Answer::Bytes(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{".to_vec());
    let server = Server::start(pki.server(false), [half]).await;
    let register = client(&pki, &server).register().timeout(SECOND);
    assert_eq!(register.await.unwrap_err().kind(), ErrorKind::Deadline);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read() {
    let pki = Pki::new();
    let large = ASSIGNED.replacen('{', &format!("{{{}", " ".repeat(300 * 1024)), 1);
    let server = Server::start(pki.server(false), [answer(200, "", &large)]).await;
    let error = client(&pki, &server).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(error.to_string(), "the answer is larger than 262144 bytes");
}

#[tokio::test]
async fn a_failure_with_a_large_body_has_the_kind_of_its_status() {
    let pki = Pki::new();
    let page = "x".repeat(300 * 1024);
    let server = Server::start(
        pki.server(false),
        [answer(503, "", &page), answer(403, "", &page)],
    )
    .await;
    let error = client(&pki, &server).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(error.status(), Some(403));
    assert!(error.error_details().is_none());
}

#[tokio::test]
async fn a_large_payload_is_read() {
    let pki = Pki::new();
    let payload = format!(r#"{{"payload":"{}","#, "x".repeat(96 * 1024));
    let body = ASSIGNED.replace(r#"{"symmetricKey""#, &format!(r#"{payload}"symmetricKey""#));
    let server = Server::start(pki.server(false), [answer(200, "", &body)]).await;
    let assignment = client(&pki, &server).register().await.unwrap();
    let payload = assignment.payload::<String>().unwrap().unwrap();
    assert_eq!(payload.len(), 96 * 1024);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let pki = Pki::new();
    let mut server = Server::start(
        pki.server(false),
        [answer(307, "Location: https://localhost/elsewhere\r\n", "")],
    )
    .await;
    let error = client(&pki, &server).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(error.status(), Some(307));
    server.request().await;
    server.closed().await;
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_retried_as_a_lost_connection() {
    let pki = Pki::new();
    let nonsense = Answer::Cut(b"220 smtp.example ESMTP\r\n".to_vec());
    let server = Server::start(pki.server(false), [nonsense, answer(200, "", ASSIGNED)]).await;
    client(&pki, &server).register().await.unwrap();
}

#[test]
fn a_text_that_is_not_a_host_is_a_configuration_error() {
    for host in [
        "",
        "https://localhost",
        "localhost:443",
        "localhost/path",
        "user@localhost",
        "local host",
        "localhost?x",
        "localhost#x",
        "dps\r\nX: y",
    ] {
        let error = host.parse::<dps_device::Host>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{host}");
    }
}
