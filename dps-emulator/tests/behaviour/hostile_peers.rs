//! Peers that send invalid data, slowly or nothing: the emulator continues to serve.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{Dps, KEY_1, KEY_2, TIMEOUT, key_enrollment};

async fn with_device() -> Dps {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps
}

async fn still_serves(dps: &Dps) {
    dps.device("dev-1").key(KEY_1).assigned().await;
}

/// Reads until the other side closes or aborts the connection.
async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    let read = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bytes_that_are_not_tls() {
    let dps = with_device().await;
    for junk in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        &[0; 4096],
        &[0xff; 70_000],
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", dps.port))
            .await
            .expect("connected");
        let _ = stream.write_all(junk).await;
        let answer = rest(stream).await;
        assert!(!answer.starts_with("HTTP"), "{answer}");
    }
    still_serves(&dps).await;
}

#[tokio::test]
async fn bytes_that_are_not_http() {
    let dps = with_device().await;
    for junk in [
        &b"\0\x01\x02 nonsense\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"PUT / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: minus one\r\n\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = dps.connect().await;
        stream.write_all(junk).await.expect("sent");
        stream.shutdown().await.expect("no more to come");
        let answer = rest(stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    still_serves(&dps).await;
}

#[tokio::test]
async fn a_head_without_end() {
    let dps = with_device().await;
    let mut stream = dps.connect().await;
    let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
    stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
    for _ in 0..200 {
        if stream.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = rest(stream).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    still_serves(&dps).await;
}

#[tokio::test]
async fn connections_that_stop_in_the_middle() {
    let dps = with_device().await;
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut slow = dps.connect().await;
        slow.write_all(b"PUT /0ne00000001/registr")
            .await
            .expect("sent");
        open.push(slow);
        let mut bodyless = dps.connect().await;
        let head =
            b"PUT /0ne00000001/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1\r\n\
            Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
        bodyless.write_all(head).await.expect("sent");
        open.push(bodyless);
    }
    still_serves(&dps).await;
}

#[tokio::test]
async fn silent_connections() {
    let dps = with_device().await;
    let mut open = Vec::new();
    for _ in 0..50 {
        let stream = TcpStream::connect(("127.0.0.1", dps.port)).await;
        open.push(stream.expect("connected"));
    }
    still_serves(&dps).await;
}

#[tokio::test]
async fn a_request_whose_sender_stops() {
    let dps = with_device().await;
    for request in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{",
        b"PUT / HTTP/1.1\r\nHo",
        b"",
    ] {
        let mut stream = dps.connect().await;
        stream.write_all(request).await.expect("sent");
        stream.shutdown().await.expect("no more to come");
        rest(stream).await;
    }
    still_serves(&dps).await;
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let dps = with_device().await;
    let mut stream = dps.connect().await;
    let pipelined = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(9)
        + "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(pipelined.as_bytes()).await.expect("sent");
    let answers = rest(stream).await;
    assert_eq!(
        answers.matches("HTTP/1.1 404 Not Found").count(),
        10,
        "{answers}"
    );
}
