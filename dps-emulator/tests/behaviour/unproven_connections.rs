//! Connections of clients that are not authenticated have a time limit.
//!
//! The times are virtual: tokio's clock is paused, and moves on when all tasks wait.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::common::{Dps, KEY_1, KEY_2, key_enrollment};

/// The times until the emulator closes a connection. Its own time begins between the two.
#[derive(Debug)]
struct Elapsed {
    since_before_connect: Duration,
    since_pause: Duration,
}

/// Returns the bytes that the emulator sends until it closes the connection, and the times that this takes.
async fn until_closed(
    before_connect: Instant,
    stream: &mut (impl AsyncRead + Unpin),
) -> (Vec<u8>, Elapsed) {
    let pause = Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let elapsed = Elapsed {
        since_before_connect: before_connect.elapsed(),
        since_pause: pause.elapsed(),
    };
    (answer, elapsed)
}

fn is_about(elapsed: &Elapsed, seconds: u64) -> bool {
    elapsed.since_before_connect.as_secs() >= seconds
        && elapsed.since_pause.as_secs() <= seconds + 1
}

#[tokio::test]
async fn a_handshake_has_ten_seconds() {
    let dps = Dps::start().await;
    for port in [dps.port, dps.emulator.mqtt_port(), dps.emulator.amqp_port()] {
        let start = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tokio::time::pause();
        let (answer, elapsed) = until_closed(start, &mut stream).await;
        tokio::time::resume();
        assert!(answer.is_empty() && is_about(&elapsed, 10), "{elapsed:?}");
    }
}

#[tokio::test]
async fn an_mqtt_client_has_thirty_seconds_for_its_connect() {
    let dps = Dps::start().await;
    for sent in [&b""[..], b"\x10\x80\x7D\x00\x04MQTT"] {
        let start = Instant::now();
        let mut stream = dps.connect_to(dps.emulator.mqtt_port()).await;
        stream.write_all(sent).await.unwrap();
        tokio::time::pause();
        let (answer, elapsed) = until_closed(start, &mut stream).await;
        tokio::time::resume();
        assert!(answer.is_empty() && is_about(&elapsed, 30), "{elapsed:?}");
    }
}

#[tokio::test]
async fn an_amqp_client_has_thirty_seconds_to_log_in_and_two_minutes_to_prove_itself() {
    let dps = Dps::start().await;
    let start = Instant::now();
    let mut stream = dps.connect_to(dps.emulator.amqp_port()).await;
    tokio::time::pause();
    let (_, elapsed) = until_closed(start, &mut stream).await;
    assert!(is_about(&elapsed, 30), "{elapsed:?}");
    tokio::time::resume();

    let start = Instant::now();
    let mut stream = dps.connect_to(dps.emulator.amqp_port()).await;
    // The header, and an open with the container id "a" and the host name "b": it uses no SASL layer and proves nothing.
    stream.write_all(b"AMQP\x00\x01\x00\x00").await.unwrap();
    let open = b"\x00\x00\x00\x16\x02\x00\x00\x00\x00\x53\x10\xC0\x09\x02\xA1\x01a\xA1\x03b.c";
    stream.write_all(open).await.unwrap();
    let mut header = [0; 8];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(&header, b"AMQP\x00\x01\x00\x00");
    tokio::time::pause();
    let (answer, elapsed) = until_closed(start, &mut stream).await;
    assert!(is_about(&elapsed, 120), "{elapsed:?}");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.contains("no request of the client was authenticated within 2 minutes"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_https_client_has_two_minutes_to_prove_itself() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let proof = dps.service_sas().sign(&dps.service_key);
    let request = |authorization: &str| {
        format!(
            "GET /enrollments/dev-1?api-version=2021-10-01 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n"
        )
    };
    for (authorization, status, is_open) in [
        ("Bearer nothing", "401", false),
        (proof.as_str(), "200", true),
    ] {
        let mut stream = dps.connect().await;
        tokio::time::pause();
        // Each request is in time for the idle timeout of 60 seconds.
        for _ in 0..3 {
            stream
                .write_all(request(authorization).as_bytes())
                .await
                .unwrap();
            let mut answer = vec![0; 16 * 1024];
            let length = stream.read(&mut answer).await.unwrap();
            assert!(answer[..length].starts_with(format!("HTTP/1.1 {status}").as_bytes()));
            sleep(Duration::from_secs(45)).await;
        }
        let sent = stream.write_all(request(authorization).as_bytes()).await;
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).await.unwrap_or_default();
        assert_eq!(sent.is_ok() && length > 0, is_open, "after 135 seconds");
        tokio::time::resume();
    }
}
