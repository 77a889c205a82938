//! The WebSocket upgrade.

use dps_device::{Error, ErrorKind};
use tokio::io::AsyncWriteExt;

use super::server::{header, read_head, upgrade};
use super::{MqttKind, Running, SECOND, set_up};
use crate::first_failure::first_failure;

#[tokio::test]
async fn the_upgrade_request_is_as_documented() {
    let (client, server) = set_up(MqttKind::WebSocket).await;
    let running = Running::start(&client);
    let mut peer = server.session().await;
    let request = peer.registration().await;
    peer.assign(&request).await;
    running.outcome().await.unwrap();

    let head = &peer.upgrade;
    // Not the root: the service would answer 404.
    assert!(
        head.starts_with("GET /$iothub/websocket HTTP/1.1\r\n"),
        "{head}"
    );
    let host = format!("localhost:{}", server.port());
    assert_eq!(header(head, "host"), Some(&*host));
    assert_eq!(header(head, "sec-websocket-protocol"), Some("mqtt"));
    assert_eq!(header(head, "sec-websocket-version"), Some("13"));
    assert_eq!(header(head, "sec-websocket-extensions"), None);
    assert_eq!(header(head, "authorization"), None);
}

/// The failure of a registration whose WebSocket upgrade has this answer.
async fn answered(answer: &str) -> Error {
    let (client, server) = set_up(MqttKind::WebSocket).await;
    let answer = async {
        let mut stream = server.tls().await;
        read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let (failure, _stream) = tokio::join!(first_failure(&client), answer);
    failure
}

#[tokio::test]
async fn a_refused_upgrade_has_its_kind() {
    for (status, kind) in [
        ("404 Not Found", ErrorKind::Protocol),
        ("403 Forbidden", ErrorKind::Protocol),
        ("200 OK", ErrorKind::Protocol),
        (
            "302 Found\r\nLocation: https://example.org/",
            ErrorKind::Protocol,
        ),
        ("429 Too Many Requests", ErrorKind::Throttled),
        ("503 Service Unavailable", ErrorKind::Service),
    ] {
        let error = answered(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(error.kind(), kind, "{status} {error:?}");
    }
    let error = answered("\x20\x02\x00\x00 this is MQTT\r\n\r\n").await;
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
}

#[tokio::test]
async fn another_subprotocol_is_a_protocol_failure() {
    for subprotocol in ["", "AMQPWSB10", "mqttv5"] {
        let (client, server) = set_up(MqttKind::WebSocket).await;
        let running = Running::start(&client);
        let mut stream = server.tls().await;
        let head = read_head(&mut stream).await;
        upgrade(&mut stream, &head, subprotocol).await;
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{subprotocol} {error:?}");
    }
}

#[tokio::test]
async fn a_text_message_is_a_protocol_failure() {
    let (client, server) = set_up(MqttKind::WebSocket).await;
    let running = Running::start(&client);
    let mut stream = server.tls().await;
    let head = read_head(&mut stream).await;
    upgrade(&mut stream, &head, "mqtt").await;
    stream.write_all(b"\x81\x04\x20\x02\x00\x00").await.unwrap();
    let error = running.outcome().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
}

#[tokio::test]
async fn a_closed_socket_is_a_connect_failure_and_replaced() {
    let (client, server) = set_up(MqttKind::WebSocket).await;
    let running = Running::start(&client);
    let mut stream = server.tls().await;
    let head = read_head(&mut stream).await;
    upgrade(&mut stream, &head, "mqtt").await;
    // 1001: going away.
    stream.write_all(b"\x88\x02\x03\xe9").await.unwrap();
    let mut peer = server.session().await;
    let request = peer.registration().await;
    peer.assign(&request).await;
    running.outcome().await.unwrap();
}

#[tokio::test]
async fn an_upgrade_that_is_never_answered_ends_at_the_deadline() {
    let (client, server) = set_up(MqttKind::WebSocket).await;
    let running = Running(tokio::spawn(
        client.register().timeout(SECOND).into_future(),
    ));
    let mut stream = server.tls().await;
    read_head(&mut stream).await;
    let error = running.outcome().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
}
