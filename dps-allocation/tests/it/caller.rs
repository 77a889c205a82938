//! The caller with webhooks whose answers are valid, invalid, late or missing.

use std::sync::Arc;
use std::time::Duration;

use dps_allocation::{
    AllocationPolicy as _, Rejection, RejectionKind, WebhookCaller, WebhookClient,
};
use dps_tls::Roots;
use dps_types::{AllocationRequest, AllocationResponse};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use crate::common::{DOCUMENTED_REQUEST, HUB_A, HUB_B};
use crate::mock::{Mock, SECRET, Then, read_request, response, send};

const GOOD: &str = r#"{"iotHubHostName":"hub-a.azure-devices.net"}"#;

fn client() -> WebhookClient {
    WebhookClient::new()
}

fn documented() -> AllocationRequest {
    serde_json::from_str(DOCUMENTED_REQUEST).unwrap()
}

/// Calls, expects a rejection, and checks that it does not contain the function key.
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

/// Checks that a webhook that does this is called once, and is rejected like this.
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
async fn request_and_answer_are_as_documented() {
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
async fn any_status_except_200_has_the_message_of_the_service() {
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
async fn an_answer_that_is_empty_or_not_json_is_rejected() {
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
    for (body, reason) in [
        (
            "rubbish",
            r#"expected value at line 1 column 1; it begins with "rubbish""#,
        ),
        (
            "{",
            r#"EOF while parsing an object at line 1 column 1; it begins with "{""#,
        ),
    ] {
        let message =
            format!("Custom allocation failed: the webhook's answer is not JSON: {reason}");
        assert_bad_answer(body, 400_207, &message).await;
    }
    let message = "Custom allocation failed: the webhook's answer is HTML or XML, so another server may have answered: \
        a proxy, a login page, or an error page of the platform";
    for body in [
        "<html>",
        "\u{feff}<!DOCTYPE html>",
        "\r\n <?xml version='1.0'?>",
    ] {
        assert_bad_answer(body, 400_207, message).await;
    }
}

/// Answers of real functions with the explanation of each. The device receives the explanation as `errorMessage`.
const EXPLAINED: &[(&str, &str)] = &[
    // The whole action result of ASP.NET, serialized.
    (
        r#"{"value":{"iotHubHostName":"hub-a.azure-devices.net"},"formatters":[],"contentTypes":[],"statusCode":200}"#,
        r#"has no iotHubHostName: it is inside "value", as if the function had serialized a whole response object. Answer with only the inner object"#,
    ),
    (
        r#"{"status":200,"body":{"iotHubHostName":"hub-a.azure-devices.net"}}"#,
        r#"it is inside "body""#,
    ),
    (
        r#"{"statusCode":200,"body":"{\"iotHubHostName\":\"hub-a.azure-devices.net\"}"}"#,
        r#"it is inside "body""#,
    ),
    (
        r#"{"payload":{"iotHubHostName":"hub-a.azure-devices.net"}}"#,
        r#"it is inside "payload""#,
    ),
    // The object, encoded twice.
    (
        r#""{\"iotHubHostName\":\"hub-a.azure-devices.net\"}""#,
        "is encoded twice: it is JSON text inside a JSON string",
    ),
    (
        r#""hub-a.azure-devices.net""#,
        r#"it is the string "hub-a.azure-devices.net", not an object with iotHubHostName"#,
    ),
    (
        r#""HostName=h;SharedAccessKeyName=n;SharedAccessKey=s3cret""#,
        "it is the string a connection string (not shown), not an object",
    ),
    (
        r#"[{"iotHubHostName":"hub-a.azure-devices.net"}]"#,
        "it is an array, not an object. Answer with the object that is in the array",
    ),
    ("[]", "it is an array, not an object"),
    ("null", "it is null, not an object"),
    ("200", "it is the number 200, not an object"),
    ("true", "it is the boolean true, not an object"),
    // The host name.
    (
        r#"{"iotHubHostName":" hub-a.azure-devices.net"}"#,
        r#"iotHubHostName in the webhook's answer is " hub-a.azure-devices.net", which is not a valid host name: it contains white space"#,
    ),
    (
        r#"{"iotHubHostName":"hub a.azure-devices.net"}"#,
        "it contains white space",
    ),
    (
        r#"{"iotHubHostName":"https://hub-a.azure-devices.net"}"#,
        r#"is "https://hub-a.azure-devices.net", which is not a valid host name: it is a URL. Answer with only the host name"#,
    ),
    (
        r#"{"iotHubHostName":"hub-a.azure-devices.net/"}"#,
        "it contains a path",
    ),
    (
        r#"{"iotHubHostName":"hub-a.azure-devices.net:8883"}"#,
        "it contains a port",
    ),
    (
        r#"{"iotHubHostName":"HostName=hub-a.azure-devices.net;SharedAccessKeyName=n;SharedAccessKey=s3cret"}"#,
        "iotHubHostName in the webhook's answer is a connection string. Answer with only its host name",
    ),
    (
        r#"{"iotHubHostName":7}"#,
        "iotHubHostName in the webhook's answer is the number 7, not a string",
    ),
    (
        r#"{"iotHubHostName":["hub-a.azure-devices.net"]}"#,
        "iotHubHostName in the webhook's answer is an array, not a string",
    ),
    (
        r#"{"iotHubHostName":"hub-a"}"#,
        "chose hub-a, which is not one of the linked hubs. The domain is missing: hub-a.azure-devices.net is linked",
    ),
    // The twin.
    (
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"tags":["a"]}}"#,
        "initialTwin.tags in the webhook's answer is an array, not an object",
    ),
    (
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":[]}"#,
        "initialTwin in the webhook's answer is an array, not an object",
    ),
    (
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":"{\"tags\":{}}"}"#,
        "not an object. It is encoded twice: JSON text inside a JSON string",
    ),
    (
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"properties":7}}"#,
        "initialTwin.properties in the webhook's answer is the number 7, not an object",
    ),
    (
        r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"properties":{"desired":[1]}}}"#,
        "initialTwin.properties.desired in the webhook's answer is an array, not an object",
    ),
    // No hub.
    ("{}", "has no iotHubHostName: it is {}"),
    (
        r#"{"iotHubHostName":null}"#,
        "has no iotHubHostName: it is null",
    ),
    (
        r#"{"iotHubHostName":""}"#,
        "has no iotHubHostName: it is an empty string",
    ),
    (
        r#"{"hubHostName":"hub-a.azure-devices.net","twin":{}}"#,
        r#"has no iotHubHostName; its members are "hubHostName", "twin""#,
    ),
];

#[tokio::test]
async fn an_invalid_answer_is_explained_to_the_caller_and_in_an_inspection() {
    for (body, explanation) in EXPLAINED {
        let mock = Mock::answering("200 OK", body).await;
        let rejection = rejected(&client().caller(&mock.url()).unwrap()).await;
        let message = rejection.message();
        assert!(
            message.starts_with("Custom allocation failed: "),
            "{message}"
        );
        assert!(message.contains(explanation), "{body}: {message}");
        assert_eq!(rejection.kind(), RejectionKind::Protocol, "{body}");

        let inspection = client().inspect(&mock.url(), &documented()).await.unwrap();
        assert_eq!(inspection.outcome().error_message(), Some(message));
        assert!(inspection.to_string().contains(explanation), "{inspection}");
    }
}

/// .NET and PowerShell write a byte order mark when they write a stream.
#[tokio::test]
async fn a_byte_order_mark_before_the_answer_is_skipped() {
    let mock = Mock::answering("200 OK", &format!("\u{feff}{GOOD}")).await;
    let caller = client().caller(&mock.url()).unwrap();
    let allocation = caller.allocate(&documented()).await.unwrap();
    assert_eq!(allocation.hub().as_str(), HUB_A);
}

/// As the service's own JSON readers do it.
#[tokio::test]
async fn the_last_of_several_members_of_the_answer_counts() {
    let several = GOOD.replacen('{', &format!(r#"{{"iotHubHostName":"{HUB_B}","#), 1);
    let mock = Mock::answering("200 OK", &several).await;
    let caller = client().caller(&mock.url()).unwrap();
    let allocation = caller.allocate(&documented()).await.unwrap();
    assert_eq!(allocation.hub().as_str(), HUB_A);
}

/// DPS could store such a value but not read it again.
#[tokio::test]
async fn an_answer_that_is_nested_too_deep_is_rejected() {
    let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let answer =
        |member: &str| format!(r#"{{"iotHubHostName":"hub-a.azure-devices.net",{member}}}"#);
    let mock = Mock::answering("200 OK", &answer(&format!(r#""payload":{}"#, nested(64)))).await;
    let caller = client().caller(&mock.url()).unwrap();
    assert!(caller.allocate(&documented()).await.is_ok());
    for (member, name) in [
        (format!(r#""payload":{}"#, nested(65)), "payload"),
        (format!(r#""payload":{}"#, nested(126)), "payload"),
        (
            format!(r#""initialTwin":{{"tags":{{"a":{}}}}}"#, nested(65)),
            "initialTwin",
        ),
    ] {
        let message = format!(
            "Custom allocation failed: the webhook's {name} is nested deeper than 64 levels"
        );
        assert_bad_answer(&answer(&member), 400_207, &message).await;
    }
}

#[tokio::test]
async fn the_kind_of_a_rejection_depends_on_the_status() {
    for (line, kind) in [
        ("400 Bad Request", RejectionKind::Declined),
        ("409 Conflict", RejectionKind::Declined),
        ("422 Unprocessable Content", RejectionKind::Declined),
        ("401 Unauthorized", RejectionKind::Protocol),
        ("404 Not Found", RejectionKind::Protocol),
        ("302 Found", RejectionKind::Protocol),
        ("408 Request Timeout", RejectionKind::Unavailable),
        ("429 Too Many Requests", RejectionKind::Unavailable),
        ("500 Internal Server Error", RejectionKind::Unavailable),
        ("503 Service Unavailable", RejectionKind::Unavailable),
    ] {
        let mock = Mock::answering(line, "{}").await;
        let rejection = rejected(&client().caller(&mock.url()).unwrap()).await;
        assert_eq!(rejection.kind(), kind, "{line}");
    }
}

#[tokio::test]
async fn an_answer_without_a_hub_has_its_own_error_code() {
    for (body, reason) in [
        ("{}", ": it is {}"),
        (r#"{"iotHubHostName":null}"#, ": it is null"),
        (r#"{"IOTHUBHOSTNAME":""}"#, ": it is an empty string"),
    ] {
        let message =
            format!("Custom allocation failed: the webhook's answer has no iotHubHostName{reason}");
        assert_bad_answer(body, 400_208, &message).await;
    }
}

#[tokio::test]
async fn a_hub_that_is_not_linked_is_rejected() {
    let message = "Custom allocation failed: the webhook chose hub-c.azure-devices.net, which is not one of the linked hubs (hub-a.azure-devices.net, hub-b.azure-devices.net)";
    assert_bad_answer(
        r#"{"iotHubHostName":"hub-c.azure-devices.net"}"#,
        400_207,
        message,
    )
    .await;
}

#[tokio::test]
async fn an_answer_over_the_limit_is_rejected() {
    let padded = |bytes: usize| format!("{GOOD}{}", " ".repeat(bytes - GOOD.len()));
    let message = "Custom allocation failed: the webhook's answer is larger than 98304 bytes";
    assert_bad_answer(&padded(96 * 1024 + 1), 400_207, message).await;
    // An answer without an end.
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, " ".repeat(100_000));
    let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
    assert_rejected(Then::Wait(endless), 400_207, 502, message).await;

    let mock = Mock::answering("200 OK", &padded(96 * 1024)).await;
    let caller = client().caller(&mock.url()).unwrap();
    assert!(caller.allocate(&documented()).await.is_ok());
}

#[tokio::test]
async fn a_slow_webhook_times_out() {
    let message = "Custom allocation failed: the webhook did not answer within 200ms";
    let half = response("200 OK", "", GOOD).replace("net\"}", "");
    for sent in [String::new(), "HTTP/1.1 200 OK\r\n".to_owned(), half] {
        let short = Duration::from_millis(200);
        let client = client().with_timeouts(Duration::from_secs(5), short);
        assert_rejected_by(client, Then::Wait(sent), 400_207, 504, message).await;
    }
}

#[tokio::test]
async fn a_connection_failure_is_reported_with_its_stage() {
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

    let message =
        "Custom allocation failed: the connection was lost before the end of the webhook's answer";
    let half = response("200 OK", "", GOOD).replace("net\"}", "");
    assert_rejected(Then::Send(half.clone()), 400_207, 502, message).await;
    assert_rejected(Then::Reset(half), 400_207, 502, message).await;
}

#[tokio::test]
async fn each_call_uses_a_new_connection() {
    // The webhook keeps the connection open, but reads nothing more from it.
    let mock = Mock::start(Then::Wait(response("200 OK", "", GOOD))).await;
    let caller = client().caller(&mock.url()).unwrap();
    for call in 1..=3 {
        assert!(caller.allocate(&documented()).await.is_ok());
        assert_eq!(mock.calls(), call);
    }
}

#[tokio::test]
async fn https_trusts_only_the_given_roots() {
    let (root, acceptor) = tls("Contoso");
    let (other, _) = tls("Fabrikam");
    let (same_name, _) = tls("Contoso");
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
    for (wrong, reason) in [
        (
            caller(&other, "localhost"),
            "UnknownIssuer; trust the root of its certificate with WebhookClient::with_roots",
        ),
        (
            caller(&same_name, "localhost"),
            "trust the root of its certificate",
        ),
        (caller(&root, "127.0.0.1"), "not valid for name"),
    ] {
        let rejection = rejected(&wrong).await;
        let message = rejection.message();
        let start = "Custom allocation failed: the TLS connection to the webhook failed: ";
        assert!(message.starts_with(start), "{message}");
        assert!(message.contains(reason), "{message}");
        assert_eq!(rejection.kind(), RejectionKind::Unavailable);
    }
    webhook.abort();
}

/// A root in PEM, and a server for `localhost` with a certificate from that root.
fn tls(name: &str) -> (String, TlsAcceptor) {
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, name);
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
