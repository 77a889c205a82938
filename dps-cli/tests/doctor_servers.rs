//! The doctor names the troubles that another server, a proxy or the service causes, and certificates for another use.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::World;
use common::findings::assert_problem;
use common::own_tls::{self, OWN_ROOT};
use dps_emulator::fault::{Effect, Fault, Step};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const KEY: &str = "dGhlIHNlY29uZGFyeSBrZXkgb2YgdG9hc3Rlci0xICE=";
const DEVICE: [&str; 5] = [
    "doctor",
    "--registration-id",
    "kettle-1",
    "--key-file",
    "device.key",
];

async fn world() -> World {
    let world = World::start().await;
    world.file("device.key", KEY);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_use_or_without_a_name_is_named() {
    let world = world().await;
    let write = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "kettle-1");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        world.file("device.pem", params.self_signed(&key).unwrap().pem());
        world.file("device.key", key.serialize_pem());
    };
    let options = [
        "doctor",
        "--offline",
        "--certificate",
        "device.pem",
        "--private-key",
        "device.key",
    ];
    write(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_problem(
        &world,
        &options,
        "certificate use",
        &["extended key usage", "clientAuth"],
    )
    .await;
    write(&|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    assert_problem(&world, &options, "certificate use", &["digitalSignature"]).await;
    write(&|params| params.distinguished_name = rcgen::DistinguishedName::new());
    assert_problem(&world, &options, "common name", &["no common name"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_certificate_for_another_host_or_of_another_time_is_named() {
    let world = world().await;
    let now = OffsetDateTime::now_utc();
    let day = time::Duration::days(1);
    let other_host = serve(&world, "gateway.example", now - day..now + day, b"").await;
    let port = ["--https-port", &other_host];
    assert_problem(
        &world,
        &[&DEVICE[..], &OWN_ROOT, &port].concat(),
        "TLS",
        &["for another host", "localhost"],
    )
    .await;
    for validity in [now - 2 * day..now - day, now + day..now + 2 * day] {
        let port = serve(&world, "localhost", validity, b"").await;
        assert_problem(
            &world,
            &[&DEVICE[..], &OWN_ROOT, &["--https-port", &port]].concat(),
            "TLS",
            &["by the clock of this machine", "set the clock"],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_firewall_whose_root_is_trusted_is_named() {
    let world = world().await;
    let page = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/block-page.http"
    ))
    .unwrap();
    let port = serve_now(&world, &page).await;
    let arguments = [&DEVICE[..], &OWN_ROOT, &["--https-port", &port]].concat();
    let administrator = ["HTML page with status 403", "administrator of the network"];
    assert_problem(&world, &arguments, "answer", &administrator).await;
    assert_problem(
        &world,
        &arguments,
        "registration",
        &["another server answered"],
    )
    .await;
}

/// The portal of a guest network, whose root is trusted: it answers with its own page, or redirects to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_captive_portal_is_named_over_every_transport() {
    let world = world().await;
    let page = "<html><body>Welcome! Accept the terms to use this network.</body></html>";
    let welcome = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
        page.len()
    );
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
    for (answer, words) in [
        (&*welcome, "HTML page with status 200"),
        (redirect, "captive portal redirects"),
    ] {
        let port = serve_now(&world, answer.as_bytes()).await;
        let ports = [
            "--https-port",
            &port,
            "--mqtt-port",
            &port,
            "--amqp-port",
            &port,
        ];
        for transport in ["http", "mqtt-ws", "amqp-ws", "mqtt", "amqp"] {
            let transport = ["--register", "--transport", transport];
            let arguments = [&DEVICE[..], &OWN_ROOT, &ports, &transport].concat();
            let another = &["another server answered"];
            assert_problem(&world, &arguments, "registration", another).await;
        }
        let arguments = [&DEVICE[..], &OWN_ROOT, &ports].concat();
        assert_problem(&world, &arguments, "answer", &[words]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_from_the_service_is_named() {
    let world = world().await;
    let body = r#"{"errorCode":401002,"trackingId":"9a7e","message":"Unauthorized"}"#;
    for (date, words) in [
        ("Thu, 01 Jan 2026 00:00:00 GMT", "days ahead"),
        ("Wed, 01 Jan 2098 00:00:00 GMT", "days behind"),
    ] {
        let answer = format!(
            "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nDate: {date}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let port = serve_now(&world, answer.as_bytes()).await;
        let arguments = [&DEVICE[..], &OWN_ROOT, &["--https-port", &port]].concat();
        assert_problem(&world, &arguments, "clock", &[words, "set the clock"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_registrations_at_the_same_time_are_named() {
    let world = world().await;
    let body = r#"{"errorCode":409203,"trackingId":"9a7e","message":"Precondition failed."}"#;
    // The wait is longer than the time limit, so that the device does not try again.
    let answer = format!(
        "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nRetry-After: 3600\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let port = serve_now(&world, answer.as_bytes()).await;
    let arguments = [
        &DEVICE[..],
        &OWN_ROOT,
        &["--https-port", &port, "--register"],
    ]
    .concat();
    let words = ["409203", "at the same time", "its own id"];
    assert_problem(&world, &arguments, "registration", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_is_named() {
    let world = world().await;
    // The wait is longer than the time limit, so that the device does not try again.
    let gateway = serve_now(
        &world,
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nRetry-After: 3600\r\nContent-Length: 6\r\n\r\n<html>",
    )
    .await;
    let arguments = [&DEVICE[..], &OWN_ROOT, &["--https-port", &gateway]].concat();
    assert_problem(&world, &arguments, "answer", &["503", "try again later"]).await;
    let body = r#"{"errorCode":500000,"trackingId":"9a7e","message":"Internal error"}"#;
    let answer = format!(
        "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nRetry-After: 3600\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let service = serve_now(&world, answer.as_bytes()).await;
    let arguments = [&DEVICE[..], &OWN_ROOT, &["--https-port", &service]].concat();
    assert_problem(
        &world,
        &arguments,
        "registration",
        &["500000", "try again later"],
    )
    .await;
}

/// One server accepts connections and is silent; the other one is silent after TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_is_named() {
    let world = world().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let before_tls = listener.local_addr().unwrap().port().to_string();
    let after_tls = serve_now(&world, b"").await;
    let silent = [&DEVICE[..], &["--https-port", &before_tls]].concat();
    // No credentials: the registration, which waits as well, is skipped.
    let silent_later = [&["doctor"][..], &OWN_ROOT, &["--https-port", &after_tls]].concat();
    tokio::join!(
        assert_problem(
            &world,
            &silent,
            "TLS",
            &["no answer in 10 seconds", "firewall"]
        ),
        assert_problem(&world, &silent_later, "answer", &["nothing answers"]),
    );
    drop(listener);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_without_a_reason_is_explained_over_every_transport() {
    let world = world().await;
    for transport in ["http", "mqtt", "mqtt-ws", "amqp", "amqp-ws"] {
        let arguments = [&DEVICE[..], &["--register", "--transport", transport]].concat();
        let words = ["does not accept these credentials", "id scope"];
        assert_problem(&world, &arguments, "registration", &words).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_the_service_are_explained() {
    let world = world().await;
    let key = [
        "--primary-key-file",
        "device.key",
        "--secondary-key-file",
        "device.key",
    ];
    let create = [&["enrollment", "create", "kettle-1"][..], &key].concat();
    let created = world.run(&create).await;
    assert_eq!(created.code, 0, "{created:?}");
    let arguments = [&DEVICE[..], &["--register"]].concat();
    for (code, words) in [(400_207, "webhook"), (400_208, "hub"), (400_209, "hub")] {
        let fault = Fault::new(Step::Register, Effect::Failed(code));
        world.emulator.faults().next(fault);
        let code = code.to_string();
        assert_problem(&world, &arguments, "registration", &[&code, words]).await;
        world.emulator.faults().clear();
    }
}

async fn serve_now(world: &World, answer: &[u8]) -> String {
    serve(world, "localhost", own_tls::now(), answer).await
}

/// A TLS server that gives each request the same answer, or none if it is empty. Returns its port.
async fn serve(
    world: &World,
    name: &str,
    validity: std::ops::Range<OffsetDateTime>,
    answer: &[u8],
) -> String {
    let answer = answer.to_vec();
    let port = own_tls::serve(world, name, validity, move |mut stream| {
        let answer = answer.clone();
        async move {
            let mut request = [0; 4096];
            while let Ok(1..) = stream.read(&mut request).await {
                if !answer.is_empty() {
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.shutdown().await;
                    return;
                }
            }
        }
    });
    port.await.to_string()
}
