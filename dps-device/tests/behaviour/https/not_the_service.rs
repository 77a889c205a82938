//! Answers that come from another server: block pages, captive portals, error pages of proxies and gateways.

use dps_device::{ErrorKind, Fallback, Http, Mqtt};

use super::server::{Answer, Server, json as answer};
use super::{client, connecting_to};
use crate::first_failure::first_failure;
use crate::pki::Pki;
use crate::script::{ASSIGNED, ASSIGNING};

/// The page of an inspecting proxy.
const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Unreachable</title></head><body>The certificate could not be verified.</body></html>";

fn page(status: u16) -> Answer {
    let length = PAGE.len();
    let head = format!(
        "HTTP/1.1 {status} Reason\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Length: {length}\r\n\r\n"
    );
    Answer::Bytes([head.as_bytes(), PAGE.as_bytes()].concat())
}

#[tokio::test]
async fn a_page_is_not_a_refusal_of_the_service() {
    for status in [200, 400, 401, 403, 404, 407, 409, 501, 511] {
        let pki = Pki::new();
        let server = Server::start(pki.server(false), [page(status)]).await;
        let error = client(&pki, &server).register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{status}");
        assert_eq!(error.status(), Some(status));
        assert!(!error.is_retryable(), "{status}");
        let text = error.to_string();
        for part in ["web page", "not DPS", "administrator of the network"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[tokio::test]
async fn a_page_in_answer_to_a_poll_or_a_lookup_is_not_an_answer_of_the_service() {
    let pki = Pki::new();
    let server = Server::start(pki.server(false), [answer(202, "", ASSIGNING), page(404)]).await;
    let error = client(&pki, &server).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);

    let server = Server::start(pki.server(false), [page(404)]).await;
    let error = client(&pki, &server).lookup().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

/// A gateway that cannot reach the service may recover.
#[tokio::test]
async fn the_error_page_of_a_gateway_is_retried() {
    for status in [500, 502, 503, 504, 429, 408] {
        let pki = Pki::new();
        let answers = [page(status), answer(200, "", ASSIGNED)];
        let server = Server::start(pki.server(false), answers).await;
        client(&pki, &server).register().await.unwrap();
    }
}

#[tokio::test]
async fn a_proxy_status_without_a_page_does_not_come_from_the_service() {
    for status in [407, 511] {
        let pki = Pki::new();
        let server = Server::start(pki.server(false), [answer(status, "", "")]).await;
        let error = client(&pki, &server).register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{status}");
        assert!(error.to_string().contains("not DPS"), "{error}");
    }
}

#[tokio::test]
async fn the_next_transport_is_tried_after_a_page() {
    let pki = Pki::new();
    let blocked = Server::start(pki.server(false), [page(403)]).await;
    let server = Server::start(pki.server(false), [answer(200, "", ASSIGNED)]).await;
    let transport = Fallback::new(Http::default().with_port(blocked.port()))
        .or(Http::default().with_port(server.port()));
    let device = crate::mqtt::key("my-device");
    let scope = "0ne00111111".parse().unwrap();
    let client = dps_device::ProvisioningClient::new(scope, device, transport);
    connecting_to(client, &pki).register().await.unwrap();
}

/// The status and the retry do not depend on the `Fallback`.
#[tokio::test]
async fn a_fallback_keeps_the_status_of_a_page() {
    for (status, is_retried) in [(403, false), (502, true)] {
        let pki = Pki::new();
        let answers = [page(status), answer(200, "", ASSIGNED)];
        let server = Server::start(pki.server(false), answers).await;
        let transport = Fallback::new(Http::default().with_port(server.port()));
        let device = crate::mqtt::key("my-device");
        let scope = "0ne00111111".parse().unwrap();
        let client = dps_device::ProvisioningClient::new(scope, device, transport);
        let outcome = connecting_to(client, &pki).register().await;
        assert_eq!(outcome.is_ok(), is_retried, "{outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert_eq!(error.status(), Some(status));
        }
    }
}

#[tokio::test]
async fn json_with_the_type_of_a_page_is_an_answer_of_the_service() {
    let pki = Pki::new();
    let body = r#"{"errorCode":401002,"message":"Unauthorized"}"#;
    let bytes = format!(
        "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answers = [Answer::Bytes(bytes.into_bytes())];
    let server = Server::start(pki.server(false), answers).await;
    let error = client(&pki, &server).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

/// `Fallback` lists the failure of each transport.
#[tokio::test]
async fn the_failure_of_each_transport_is_logged_as_a_warning() {
    let (log, _guard) = crate::log::Log::collect(tracing::Level::WARN);
    let pki = Pki::new();
    let server = Server::start(pki.server(false), vec![page(403); 100]).await;
    let transport =
        Fallback::new(Mqtt::default().with_port(1)).or(Http::default().with_port(server.port()));
    let device = crate::mqtt::key("my-device");
    let scope = "0ne00111111".parse().unwrap();
    let client = connecting_to(
        dps_device::ProvisioningClient::new(scope, device, transport),
        &pki,
    );
    let error = first_failure(&client).await;
    let text = log.text();
    assert_eq!(text.matches("this transport failed").count(), 2, "{text}");
    assert!(
        text.contains("transport=Mqtt error=the connection failed"),
        "{text}"
    );
    assert!(text.contains("transport=Http error=a web page"), "{text}");
    let chain = format!("{error:#}");
    assert!(chain.contains("Http: a web page"), "{chain}");
}
