//! Start and end of an emulator inside a process.

use std::net::TcpListener;
use std::time::Duration;

use dps_emulator::{Emulator, ErrorKind, HostName, Latency, LinkedHub, VerifiedCa};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::linked;
use crate::common::{Dps, Hook, KEY_1, KEY_2, TIMEOUT, Wire, key_enrollment, with};

async fn shut_down(dps: Dps) {
    let ended = timeout(TIMEOUT, dps.emulator.shutdown()).await;
    ended.expect("the shutdown ends");
}

/// Returns true if the emulator no longer answers: the port is closed, or another program uses it.
async fn is_shut_down(wire: &Wire) -> bool {
    let request = wire.request("GET", "/enrollments/e");
    request.send().await.is_err()
}

#[tokio::test]
async fn two_emulators_share_no_state() {
    let (one, other) = (Dps::start().await, Dps::start().await);
    assert_ne!(one.port, other.port);
    assert_ne!(one.emulator.ca_pem(), other.emulator.ca_pem());
    assert_ne!(one.service_key, other.service_key);
    one.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    assert_eq!(other.get("/enrollments/dev-1").await.status, 404);
    assert_eq!(
        other.device("dev-1").key(KEY_1).register().await.status,
        401
    );
    one.device("dev-1").key(KEY_1).assigned().await;
    shut_down(one).await;
    other
        .create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    other.device("dev-1").key(KEY_1).assigned().await;
}

#[tokio::test]
async fn an_emulator_reports_its_settings() {
    let dps = Dps::start_with(|builder| {
        builder
            .id_scope("0ne00ABCDEF".parse().expect("an id scope"))
            .link_hub(linked("hub-a"))
            .link_hub(linked("hub-b=10"))
    })
    .await;
    let emulator = &dps.emulator;
    assert_eq!(emulator.id_scope().as_str(), "0ne00ABCDEF");
    assert_eq!(
        emulator.https_url(),
        format!("https://localhost:{}", emulator.https_port())
    );
    let hubs: Vec<String> = emulator
        .hub_names()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(hubs, ["hub-a", "hub-b"]);
    assert!(emulator.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    let shown = format!("{emulator:?}");
    assert!(!shown.contains(&dps.service_key), "{shown}");
}

#[tokio::test]
async fn after_a_shutdown_no_request_is_answered() {
    let dps = Dps::start().await;
    let wire = (*dps).clone();
    assert!(!is_shut_down(&wire).await);
    shut_down(dps).await;
    assert!(is_shut_down(&wire).await);
}

#[tokio::test]
async fn after_a_shutdown_the_port_is_free() {
    for _ in 0..10 {
        let dps = Dps::start().await;
        let port = dps.port;
        dps.get("/enrollments/e").await;
        shut_down(dps).await;
        match Emulator::builder().https_port(port).start().await {
            Ok(again) => return assert_eq!(again.https_port(), port),
            // Another test may have been faster.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Bind),
        }
    }
    panic!("the port was never free");
}

#[tokio::test]
async fn dropping_an_emulator_stops_it() {
    let dps = Dps::start().await;
    let wire = (*dps).clone();
    drop(dps);
    let gone = async {
        while !is_shut_down(&wire).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, gone).await.expect("it ends");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_webhook() {
    let dps = Dps::start().await;
    let hook = Hook::start(|_| None).await;
    let enrollment = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({
            "allocationPolicy": "custom",
            "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
        }),
    );
    dps.create("/enrollments/dev-1", &enrollment).await;
    assert_eq!(dps.device("dev-1").key(KEY_1).register().await.status, 202);
    hook.asked(1).await;
    // Far less than the webhook's 30 seconds.
    let ended = timeout(Duration::from_secs(15), dps.emulator.shutdown()).await;
    ended.expect("the shutdown ends");
}

#[tokio::test]
async fn a_shutdown_closes_connections_that_ask_nothing() {
    let dps = Dps::start().await;
    let silent = TcpStream::connect(("127.0.0.1", dps.port)).await;
    let mut idle = dps.connect().await;
    let mut used = dps.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    used.write_all(request).await.expect("sent");
    used.read_u8().await.expect("answered");
    shut_down(dps).await;
    for stream in [&mut idle, &mut used] {
        let mut rest = Vec::new();
        let closed = timeout(TIMEOUT, stream.read_to_end(&mut rest)).await;
        let _ = closed.expect("closed");
    }
    drop(silent);
}

#[tokio::test]
async fn a_shutdown_cuts_connections_that_do_not_finish() {
    let dps = Dps::start().await;
    let mut unfinished = dps.connect().await;
    unfinished.write_all(b"GET / HT").await.expect("sent");
    // By the time this is answered, the other is read.
    dps.get("/enrollments/e").await;
    shut_down(dps).await;
    let mut rest = Vec::new();
    let closed = timeout(TIMEOUT, unfinished.read_to_end(&mut rest)).await;
    let _ = closed.expect("closed");
}

#[tokio::test]
async fn a_hub_cannot_be_linked_twice() {
    let builder = Emulator::builder()
        .link_hub(linked("hub-a"))
        .link_hub(linked("HUB-A"));
    let error = builder.start().await.expect_err("linked twice");
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert_eq!(error.to_string(), "the hub HUB-A is linked twice");
}

#[test]
fn options_that_are_not_valid_fail_where_they_are_written() {
    for (text, message) in [
        ("not a hub", "'not a hub' is not a valid hub: "),
        (
            "hub-a=0",
            "'hub-a=0' is not a valid hub: the weight must be 1 to 1000",
        ),
        (
            "hub-b,maybe",
            "'hub-b,maybe' is not a valid hub: the only option after the comma is no-policy",
        ),
    ] {
        let error = text.parse::<LinkedHub>().expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
    let error = "hub-a=near".parse::<Latency>().expect_err("no number");
    assert_eq!(
        error.to_string(),
        "'hub-a=near' is not a valid latency: it must be [REGION/]HUB=MILLISECONDS"
    );
    let error = VerifiedCa::from_pem("contoso", "nonsense").expect_err("no certificate");
    assert_eq!(
        error.to_string(),
        "the certificate of the CA 'contoso' cannot be read"
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
#[should_panic(expected = "the weight of a hub must be 1 to 1000, and is 1001")]
fn a_weight_that_the_service_does_not_accept_panics() {
    let _ = linked("hub-a").weight(1001);
}

#[test]
fn a_host_name_that_is_not_valid_is_refused() {
    let error = "no name!".parse::<HostName>();
    let error = error.expect_err("not a name");
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    assert!(error.to_string().contains("no name!"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_reported() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("an address").port();
    let error = Emulator::builder().https_port(port).start().await;
    let error = error.expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::Bind);
    assert_eq!(
        error.to_string(),
        format!("cannot listen on 127.0.0.1:{port}")
    );
}

#[tokio::test]
async fn the_server_has_its_host_names() {
    let dps =
        Dps::start_with(|builder| builder.host_name("dps.example".parse().expect("a name"))).await;
    for host in ["localhost", "127.0.0.1"] {
        let mut wire = (*dps).clone();
        wire.base = format!("https://{host}:{}", dps.port);
        assert_eq!(wire.get("/enrollments/e").await.status, 404, "{host}");
    }
}
