//! The requests: line, headers, body; and the answers' headers that matter.

use std::time::{Duration, SystemTime};

use dps_device::{Clock, ErrorKind};
use dps_types::RegistrationStatus;
use dps_types::protocol::ApiVersion;
use serde_json::json;

use super::server::{Server, json as answer};
use super::{client, client_of};
use crate::pki::Pki;
use crate::script::{ASSIGNED, ASSIGNING, assigned_as};

#[tokio::test]
async fn a_registration_and_its_poll_are_written_as_documented() {
    let pki = Pki::new();
    let mut server = Server::start(
        pki.server(false),
        [answer(202, "", ASSIGNING), answer(200, "", ASSIGNED)],
    )
    .await;
    let register = client(&pki, &server).register();
    let register = register.payload(json!({"model": "Grüner Toaster"}));
    register.await.unwrap();

    let put = server.request().await;
    assert_eq!(
        put.line,
        "PUT /0ne00111111/registrations/my-device/register?api-version=2021-06-01 HTTP/1.1"
    );
    let expected = r#"{"registrationId":"my-device","payload":{"model":"Grüner Toaster"}}"#;
    assert_eq!(put.body, expected);
    assert_eq!(
        put.header("content-length"),
        Some(&*expected.len().to_string())
    );
    assert_eq!(
        put.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(put.header("accept"), Some("application/json"));
    assert_eq!(
        put.header("user-agent"),
        Some(concat!("dps-device/", env!("CARGO_PKG_VERSION")))
    );
    let host = format!("localhost:{}", server.port());
    assert_eq!(put.header("host"), Some(&*host));
    assert!(put.header("transfer-encoding").is_none());
    assert!(put.header("authorization").is_some());

    let get = server.request().await;
    assert_eq!(
        get.line,
        "GET /0ne00111111/registrations/my-device/operations/5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550?api-version=2021-06-01 HTTP/1.1"
    );
    assert_eq!(get.body, "");
    assert!(get.header("authorization").is_some());
    assert_eq!(get.connection, put.connection, "the connection is kept");
}

#[tokio::test]
async fn the_api_version_can_be_chosen() {
    let pki = Pki::new();
    let mut server = Server::start(pki.server(false), [answer(200, "", ASSIGNED)]).await;
    let client = client(&pki, &server).with_api_version(ApiVersion::V2019_03_31);
    client.register().await.unwrap();
    let line = server.request().await.line;
    assert!(line.contains("?api-version=2019-03-31 "), "{line}");
}

#[tokio::test]
async fn ids_with_colons_are_encoded_alike_in_path_and_token() {
    let pki = Pki::new();
    let mut server = Server::start(
        pki.server(false),
        [answer(200, "", &assigned_as("dev:1.x_y-z"))],
    )
    .await;
    let client = client_of("dev:1.x_y-z", &pki, server.port());
    client.register().await.unwrap();

    let put = server.request().await;
    assert!(
        put.line
            .starts_with("PUT /0ne00111111/registrations/dev%3A1.x_y-z/register?"),
        "{}",
        put.line
    );
    assert_eq!(put.body, r#"{"registrationId":"dev:1.x_y-z"}"#);
    let token = put.header("authorization").unwrap();
    assert!(
        token.starts_with(
            "SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fdev%3A1.x_y-z&sig="
        ),
        "{token}"
    );
}

#[tokio::test]
async fn the_case_of_an_id_is_kept() {
    let pki = Pki::new();
    let mut server = Server::start(
        pki.server(false),
        [answer(200, "", &assigned_as("dev-abc"))],
    )
    .await;
    let client = client_of("Dev-ABC", &pki, server.port());
    client.register().await.unwrap();

    let put = server.request().await;
    assert!(put.line.contains("/registrations/Dev-ABC/"), "{}", put.line);
    assert_eq!(put.body, r#"{"registrationId":"Dev-ABC"}"#);
    let token = put.header("authorization").unwrap();
    assert!(token.contains("registrations%2FDev-ABC&"), "{token}");
}

#[tokio::test]
async fn a_lookup_is_written_as_documented_and_accepts_any_status() {
    let pki = Pki::new();
    let mut server = Server::start(
        pki.server(false),
        [
            answer(429, "Retry-After: 0\r\n", "{}"),
            answer(
                200,
                "",
                r#"{"registrationId":"my-device","status":"disabled"}"#,
            ),
        ],
    )
    .await;
    let found = client(&pki, &server).lookup().await.unwrap();
    assert_eq!(found.status, Some(RegistrationStatus::Disabled));

    for _ in 0..2 {
        let post = server.request().await;
        assert_eq!(
            post.line,
            "POST /0ne00111111/registrations/my-device?api-version=2021-06-01 HTTP/1.1"
        );
        assert_eq!(post.body, r#"{"registrationId":"my-device"}"#);
        assert!(post.header("authorization").is_some());
    }
}

#[tokio::test]
async fn a_lookup_of_an_unknown_device_finds_nothing() {
    let pki = Pki::new();
    let body = r#"{"errorCode":404203,"message":"not found"}"#;
    let server = Server::start(pki.server(false), [answer(404, "", body)]).await;
    let error = client(&pki, &server).lookup().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.error_details().unwrap().error_code.unwrap().get(),
        404_203
    );
}

/// The clock of a device without a battery.
#[derive(Debug)]
struct ClockAtEpoch;

impl Clock for ClockAtEpoch {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

#[tokio::test]
async fn retry_after_may_be_a_date() {
    for (headers, wait) in [
        // The date is compared with the service's clock, not with the device's.
        (
            "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\nRetry-After: Wed, 21 Oct 2015 07:38:00 GMT\r\n",
            600,
        ),
        ("retry-after: Thu, 01 Jan 1970 00:20:00 GMT\r\n", 1200),
        ("RETRY-AFTER: 700\r\n", 700),
        // Of several values the first one counts, as in .NET.
        ("Retry-After: 800\r\nRetry-After: 900\r\n", 800),
        ("Retry-After: 99999999999999999999\r\n", 3_153_600_000),
    ] {
        let pki = Pki::new();
        let server = Server::start(pki.server(false), [answer(202, headers, ASSIGNING)]).await;
        let client = client(&pki, &server).with_clock(ClockAtEpoch);
        let error = client.register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline, "{headers}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(wait)));
    }
}

#[tokio::test]
async fn an_invalid_retry_after_is_ignored() {
    let pki = Pki::new();
    let answers = [
        "Retry-After: soon\r\n",
        "Retry-After: -5\r\n",
        "Retry-After: \r\n",
    ];
    let pending = answers.map(|headers| answer(202, headers, ASSIGNING));
    let server = Server::start(
        pki.server(false),
        pending.into_iter().chain([answer(200, "", ASSIGNED)]),
    )
    .await;
    client(&pki, &server).register().await.unwrap();
}

#[tokio::test]
async fn chunked_answers_are_read() {
    let pki = Pki::new();
    let (first, second) = ASSIGNED.split_at(100);
    let body = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    let answer = super::server::Answer::Bytes(body.into_bytes());
    let server = Server::start(pki.server(false), [answer]).await;
    client(&pki, &server).register().await.unwrap();
}
