//! The caller against webhooks that answer well, badly, late or not at all.

use std::sync::Arc;
use std::time::Duration;

use dps_allocation::{AllocationPolicy as _, Rejection, WebhookCaller, WebhookClient};
use dps_tls::Roots;
use dps_types::{AllocationRequest, AllocationResponse};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use crate::common::{DOCUMENTED_REQUEST, HUB_A};
use crate::mock::{Mock, SECRET, Then, read_request, response, send};

const GOOD: &str = r#"{"iotHubHostName":"hub-a.azure-devices.net"}"#;

fn client() -> WebhookClient {
    WebhookClient::new()
}

fn documented() -> AllocationRequest {
    serde_json::from_str(DOCUMENTED_REQUEST).unwrap()
}

/// Asks, expects a no, and that it shows nothing of the key.
async fn rejected(caller: &WebhookCaller) -> Rejection {
    let rejection = caller.allocate(&documented()).await.unwrap_err();
    let mut shown = format!("{rejection} {rejection:?} {caller:?}");
    let mut source = std::error::Error::source(&rejection);
    while let Some(error) = source {
        shown += &format!(" {error} {error:?}");
        source = error.source();
    }
    assert!(!shown.contains(SECRET), "{shown}");
    rejection
}

/// A webhook that does this is asked once, and this comes of it.
async fn assert_rejected(then: Then, code: u32, status: u16, message: &str) {
    assert_rejected_by(client(), then, code, status, message).await;
}

async fn assert_rejected_by(
    client: WebhookClient,
    then: Then,
    code: u32,
    status: u16,
    message: &str,
) {
    let mock = Mock::start(then).await;
    let caller = client.caller(&mock.url()).unwrap();
    let rejection = rejected(&caller).await;
    assert_eq!(rejection.message(), message);
    assert_eq!(rejection.error_code().unwrap().get(), code, "{message}");
    assert_eq!(rejection.status(), status, "{message}");
    assert_eq!(mock.calls(), 1, "{message}");
}

async fn assert_bad_answer(body: &str, code: u32, message: &str) {
    let then = Then::Send(response("200 OK", "", body));
    assert_rejected(then, code, 502, message).await;
}

#[tokio::test]
async fn it_asks_and_answers_as_documented() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/api/HttpTrigger1?code=a%3D",
        listener.local_addr().unwrap()
    );
    let answer = r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"tags":{"Desired":1},"properties":{"desired":{"a":1}}},"payload":{"b":2}}"#;
    let webhook = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = read_request(&mut stream).await;
        send(&mut stream, &response("200 OK", "", answer)).await;
        asked
    };
    let caller = client().caller(&url).unwrap();
    let request = documented();
    let (asked, allocation) = tokio::join!(webhook, caller.allocate(&request));

    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /api/HttpTrigger1?code=a%3D HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.to_ascii_lowercase()
            .contains("\r\ncontent-type: application/json"),
        "{head}"
    );
    let sent: serde_json::Value = serde_json::from_str(body).unwrap();
    let documented: serde_json::Value = serde_json::from_str(DOCUMENTED_REQUEST).unwrap();
    assert_eq!(sent, documented);

    let response = AllocationResponse::from(allocation.unwrap());
    assert_eq!(serde_json::to_string(&response).unwrap(), answer);
}

#[tokio::test]
async fn names_in_the_answer_are_read_in_any_case() {
    let mock = Mock::answering(
        "200 OK",
        r#"{"iotHubHostname":"HUB-A.azure-devices.net","more":1}"#,
    )
    .await;
    let allocation = client()
        .caller(&mock.url())
        .unwrap()
        .allocate(&documented())
        .await;
    assert_eq!(
        allocation.unwrap().hub().as_str(),
        "HUB-A.azure-devices.net"
    );
}

#[tokio::test]
async fn any_status_but_200_is_told_in_the_services_words() {
    for (line, status, passed_on) in [
        ("400 Bad Request", 400, 400),
        ("401 Unauthorized", 401, 401),
        ("404 Not Found", 404, 404),
        ("500 Internal Server Error", 500, 500),
        ("503 Service Unavailable", 503, 503),
        ("201 Created", 201, 502),
        ("204 No Content", 204, 502),
        ("302 Found", 302, 502),
        ("304 Not Modified", 304, 502),
    ] {
        let then = Then::Send(response(
            line,
            "",
            if status == 204 || status == 304 {
                ""
            } else {
                GOOD
            },
        ));
        let message = format!("Custom allocation failed with status code: {status}");
        assert_rejected(then, 400_207, passed_on, &message).await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Mock::answering("200 OK", GOOD).await;
    for line in [
        "301 Moved",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!("Location: {}\r\n", other.url());
        let status = &line[..3];
        let message = format!("Custom allocation failed with status code: {status}");
        let then = Then::Send(response(line, &location, ""));
        assert_rejected(then, 400_207, 502, &message).await;
    }
    assert_eq!(other.calls(), 0);
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_apart() {
    assert_bad_answer(
        "",
        400_207,
        "Custom allocation failed: the webhook's answer is empty",
    )
    .await;
    assert_bad_answer(
        " \r\n",
        400_207,
        "Custom allocation failed: the webhook's answer is empty",
    )
    .await;
    for rubbish in ["rubbish", "{", "<html>", "\u{0}"] {
        let message = "Custom allocation failed: the webhook's answer is not JSON";
        assert_bad_answer(rubbish, 400_207, message).await;
    }
    for other in [
        "[]",
        "\"hub-a.azure-devices.net\"",
        "null",
        r#"{"iotHubHostName":7}"#,
        r#"{"iotHubHostName":"no hub"}"#,
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":[]}"#,
    ] {
        let message =
            "Custom allocation failed: the webhook's answer is not an allocation response";
        assert_bad_answer(other, 400_207, message).await;
    }
}

#[tokio::test]
async fn an_answer_without_a_hub_has_a_code_of_its_own() {
    for body in [
        "{}",
        r#"{"iotHubHostName":null}"#,
        r#"{"iotHubHostName":""}"#,
        r#"{"payload":{"iotHubHostName":"hub-a.azure-devices.net"}}"#,
    ] {
        let message = "Custom allocation failed: the webhook's answer has no iotHubHostName";
        assert_bad_answer(body, 400_208, message).await;
    }
}

#[tokio::test]
async fn a_hub_that_is_not_linked_is_refused() {
    let message = "Custom allocation failed: the webhook chose hub-c.azure-devices.net, which is not one of the linked hubs";
    assert_bad_answer(
        r#"{"iotHubHostName":"hub-c.azure-devices.net"}"#,
        400_207,
        message,
    )
    .await;
}

#[tokio::test]
async fn a_huge_answer_is_not_read() {
    let padded = |bytes: usize| format!("{GOOD}{}", " ".repeat(bytes - GOOD.len()));
    let message = "Custom allocation failed: the webhook's answer is larger than 98304 bytes";
    assert_bad_answer(&padded(96 * 1024 + 1), 400_207, message).await;
    // And one without an end.
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, " ".repeat(100_000));
    let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
    assert_rejected(Then::Wait(endless), 400_207, 502, message).await;

    let mock = Mock::answering("200 OK", &padded(96 * 1024)).await;
    let caller = client().caller(&mock.url()).unwrap();
    assert!(caller.allocate(&documented()).await.is_ok());
}

#[tokio::test]
async fn a_slow_webhook_is_given_up() {
    let message = "Custom allocation failed: the webhook did not answer within 200ms";
    let half = response("200 OK", "", GOOD).replace("net\"}", "");
    for sent in [String::new(), "HTTP/1.1 200 OK\r\n".to_owned(), half] {
        let short = Duration::from_millis(200);
        let client = client().with_timeouts(Duration::from_secs(5), short);
        assert_rejected_by(client, Then::Wait(sent), 400_207, 504, message).await;
    }
}

#[tokio::test]
async fn a_connection_that_fails_is_told_where_it_failed() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let caller = client()
        .caller(&format!("http://{gone}/?code={SECRET}"))
        .unwrap();
    let rejection = rejected(&caller).await;
    assert_eq!(
        rejection.message(),
        "Custom allocation failed: the webhook refused the connection"
    );
    assert_eq!(rejection.error_code().unwrap().get(), 400_207);
    assert_eq!(rejection.status(), 502);

    let message = "Custom allocation failed: the webhook closed the connection without an answer";
    for then in [
        Then::Send(String::new()),
        Then::Reset(String::new()),
        Then::Send("HTTP/1.1 200".to_owned()),
    ] {
        assert_rejected(then, 400_207, 502, message).await;
    }

    let message = "Custom allocation failed: the webhook's answer broke off";
    let half = response("200 OK", "", GOOD).replace("net\"}", "");
    assert_rejected(Then::Send(half.clone()), 400_207, 502, message).await;
    assert_rejected(Then::Reset(half), 400_207, 502, message).await;
}

#[tokio::test]
async fn nothing_is_asked_twice_over_one_connection() {
    // It keeps the connection, but reads nothing more from it.
    let mock = Mock::start(Then::Wait(response("200 OK", "", GOOD))).await;
    let caller = client().caller(&mock.url()).unwrap();
    for call in 1..=3 {
        assert!(caller.allocate(&documented()).await.is_ok());
        assert_eq!(mock.calls(), call);
    }
}

#[tokio::test]
async fn https_trusts_the_given_roots_and_no_others() {
    let (root, acceptor) = tls();
    let (other, _) = tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let webhook = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                read_request(&mut stream).await;
                send(&mut stream, &response("200 OK", "", GOOD)).await;
                stream.shutdown().await.unwrap_or_default();
            }
        }
    });
    let caller = |roots: &str, host: &str| {
        let client = WebhookClient::with_roots(Roots::from_pem(roots).unwrap());
        client
            .caller(&format!("https://{host}:{port}/?code={SECRET}"))
            .unwrap()
    };
    let allocation = caller(&root, "localhost").allocate(&documented()).await;
    assert_eq!(allocation.unwrap().hub().as_str(), HUB_A);
    // Not the root, not the name.
    for wrong in [caller(&other, "localhost"), caller(&root, "127.0.0.1")] {
        let rejection = rejected(&wrong).await;
        assert_eq!(
            rejection.message(),
            "Custom allocation failed: the webhook could not be connected to"
        );
    }
    webhook.abort();
}

/// A root in PEM, and a server for `localhost` under it.
fn tls() -> (String, TlsAcceptor) {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let certificate = root.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.into())
        .unwrap();
    (certificate.pem(), TlsAcceptor::from(Arc::new(config)))
}
