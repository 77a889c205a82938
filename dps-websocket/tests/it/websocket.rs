//! MQTT over WebSocket: the handshake, and messages as RFC 6455 defines them.

use std::io;

use crate::common::{MAX, hex};
use dps_mqtt::{Connect, ErrorKind as MqttErrorKind, Packet, Packets, Publish, QoS};
use dps_websocket::{Error, ErrorKind, WebSocketIo, accept_key};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const PIPE: usize = 64 * 1024;

/// Our server, and the other end of its stream.
fn server() -> (Packets<WebSocketIo<DuplexStream>>, DuplexStream) {
    let (ours, theirs) = duplex(PIPE);
    (Packets::new(WebSocketIo::accept(ours, MAX), MAX), theirs)
}

/// Our client after a successful handshake, and the other end of its stream.
async fn client() -> (Packets<WebSocketIo<DuplexStream>>, DuplexStream) {
    let (ours, mut theirs) = duplex(PIPE);
    let switch = async {
        let key = key_of(&request(&mut theirs).await);
        theirs.write_all(switched(&key).as_bytes()).await.unwrap();
    };
    let (client, ()) = tokio::join!(connect(ours), switch);
    (Packets::new(client.unwrap(), MAX), theirs)
}

async fn connect(stream: DuplexStream) -> Result<WebSocketIo<DuplexStream>, Error> {
    WebSocketIo::connect(stream, "dps.example:443", "/$iothub/websocket", "mqtt", MAX).await
}

async fn request(stream: &mut DuplexStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(request).unwrap()
}

fn key_of(request: &str) -> String {
    let (_, rest) = request.split_once("Sec-WebSocket-Key: ").unwrap();
    rest.split_once("\r\n").unwrap().0.into()
}

fn switched(key: &str) -> String {
    let accept = accept_key(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
}

/// The error of a handshake with this response.
async fn answered(answer: impl FnOnce(&str) -> String) -> Error {
    let (ours, mut theirs) = duplex(PIPE);
    let reply = async move {
        let answer = answer(&key_of(&request(&mut theirs).await));
        theirs.write_all(answer.as_bytes()).await.unwrap();
        theirs
    };
    tokio::join!(connect(ours), reply).0.unwrap_err()
}

async fn bytes(stream: &mut DuplexStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn the_accept_key_is_that_of_the_rfc() {
    assert_eq!(
        accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}

#[tokio::test]
async fn the_request_asks_for_mqtt() {
    let (ours, mut theirs) = duplex(PIPE);
    let asked = async {
        let request = request(&mut theirs).await;
        drop(theirs);
        request
    };
    let (refused, request) = tokio::join!(connect(ours), asked);
    assert!(request.starts_with("GET /$iothub/websocket HTTP/1.1\r\n"));
    for line in [
        "Host: dps.example:443",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
    ] {
        assert!(request.lines().any(|found| found == line), "{request}");
    }
    // A server that disconnects has not refused.
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Io);
}

#[tokio::test]
async fn a_response_that_is_not_a_switch_is_refused() {
    let error =
        answered(|_| "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n".into()).await;
    assert_eq!(error.kind(), ErrorKind::Upgrade);
    assert_eq!(error.http_status(), Some(429));

    for answer in [
        |key: &str| switched(key).replace("Sec-WebSocket-Protocol: mqtt\r\n", ""),
        |key: &str| switched(key).replace("mqtt", "AMQPWSB10"),
        |_: &str| switched("dGhlIHNhbXBsZSBub25jZQ=="),
        |key: &str| switched(key).replace("Upgrade: websocket\r\n", ""),
        |_: &str| "SSH-2.0-OpenSSH_9.2\r\n\r\n".into(),
    ] {
        let error = answered(answer).await;
        assert_eq!(error.kind(), ErrorKind::Upgrade, "{error:?}");
        assert_eq!(error.http_status(), None);
    }
}

#[tokio::test]
async fn an_invalid_host_path_or_subprotocol_is_refused() {
    for (host, path, subprotocol) in [
        ("not a host", "/", "mqtt"),
        ("host/path", "/", "mqtt"),
        ("", "/", "mqtt"),
        ("host", "/ ", "mqtt"),
        ("host", "/", "mq\r\ntt"),
    ] {
        let (ours, _theirs) = duplex(PIPE);
        let error = WebSocketIo::connect(ours, host, path, subprotocol, MAX)
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Upgrade,
            "{host} {path} {subprotocol}"
        );
    }
}

#[tokio::test]
async fn a_packet_is_a_binary_message() {
    let (mut server, mut theirs) = server();
    server
        .write(Packet::PubAck { packet_id: 10 })
        .await
        .unwrap();
    assert_eq!(bytes(&mut theirs, 6).await, hex("82 04 40 02 00 0A"));
    // From a client, masked; a mask of zeros shows the bytes.
    theirs
        .write_all(&hex("82 82 00 00 00 00 C0 00"))
        .await
        .unwrap();
    assert_eq!(server.read().await.unwrap(), Some(Packet::PingReq));

    let (mut client, mut theirs) = client().await;
    client.write(Packet::PingReq).await.unwrap();
    let sent = bytes(&mut theirs, 8).await;
    assert_eq!(sent[..2], hex("82 82")[..]);
    assert_eq!([sent[6] ^ sent[2], sent[7] ^ sent[3]], hex("C0 00")[..]);
    theirs.write_all(&hex("82 02 D0 00")).await.unwrap();
    assert_eq!(client.read().await.unwrap(), Some(Packet::PingResp));
}

#[tokio::test]
async fn packets_span_messages_and_share_them() {
    let (mut client, mut theirs) = client().await;
    // PUBACK 10 in three messages, one of them empty, the last with a PINGRESP; then one message in two fragments,
    // with a pong between them.
    theirs
        .write_all(&hex(
            "82 01 40 82 00 82 05 02 00 0A D0 00 02 02 40 02 8A 00 80 02 00 0B",
        ))
        .await
        .unwrap();
    assert_eq!(
        client.read().await.unwrap(),
        Some(Packet::PubAck { packet_id: 10 })
    );
    assert_eq!(client.read().await.unwrap(), Some(Packet::PingResp));
    assert_eq!(
        client.read().await.unwrap(),
        Some(Packet::PubAck { packet_id: 11 })
    );
}

#[tokio::test]
async fn client_and_server_through_a_narrow_pipe() {
    let (ours, theirs) = duplex(7);
    let server = async {
        let mut stream = theirs;
        let key = key_of(&request(&mut stream).await);
        stream.write_all(switched(&key).as_bytes()).await.unwrap();
        let mut packets = Packets::new(WebSocketIo::accept(stream, MAX), MAX);
        while let Some(packet) = packets.read().await.unwrap() {
            packets.write(packet).await.unwrap();
        }
    };
    let client = async {
        let mut packets = Packets::new(connect(ours).await.unwrap(), MAX);
        for packet in [
            Packet::Connect(Connect::new("device-1")),
            Packet::Publish(Publish::new("t", vec![1; 3000], QoS::AtLeastOnce, Some(1))),
            Packet::Disconnect,
        ] {
            packets.write(packet.clone()).await.unwrap();
            assert_eq!(packets.read().await.unwrap(), Some(packet));
        }
        packets.into_inner().shutdown().await.unwrap();
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_ping_is_answered_while_reading() {
    let (mut server, mut theirs) = server();
    theirs
        .write_all(&hex("89 82 00 00 00 00 68 69 82 82 00 00 00 00 C0 00"))
        .await
        .unwrap();
    assert_eq!(server.read().await.unwrap(), Some(Packet::PingReq));
    assert_eq!(bytes(&mut theirs, 4).await, hex("8A 02 68 69"));
}

#[tokio::test]
async fn a_text_message_closes() {
    let (mut client, mut theirs) = client().await;
    theirs.write_all(&hex("81 02 68 69")).await.unwrap();
    assert_eq!(
        client.read().await.unwrap_err().kind(),
        MqttErrorKind::Malformed
    );
    let sent = bytes(&mut theirs, 8).await;
    assert_eq!(sent[..2], hex("88 82")[..]);
    // 1003: this type of data is not accepted.
    assert_eq!([sent[6] ^ sent[2], sent[7] ^ sent[3]], hex("03 EB")[..]);
}

#[tokio::test]
async fn bytes_that_arrive_with_the_response_are_read() {
    let (ours, mut theirs) = duplex(PIPE);
    let switch = async {
        let mut bytes = switched(&key_of(&request(&mut theirs).await)).into_bytes();
        bytes.extend(hex("82 02 D0 00"));
        theirs.write_all(&bytes).await.unwrap();
    };
    let (client, ()) = tokio::join!(connect(ours), switch);
    let mut client = Packets::new(client.unwrap(), MAX);
    assert_eq!(client.read().await.unwrap(), Some(Packet::PingResp));
}

#[tokio::test]
async fn a_frame_that_breaks_the_rfc_closes() {
    // A frame that is not masked, a reserved opcode, a reserved bit. 1002: protocol error.
    for bad in [
        "82 02 C0 00",
        "83 82 00 00 00 00 C0 00",
        "C2 82 00 00 00 00 C0 00",
    ] {
        let (mut server, mut theirs) = server();
        theirs.write_all(&hex(bad)).await.unwrap();
        assert_eq!(
            server.read().await.unwrap_err().kind(),
            MqttErrorKind::Malformed
        );
        assert_eq!(bytes(&mut theirs, 4).await, hex("88 02 03 EA"), "{bad}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_closes() {
    // 4,097 bytes announced; and 4,000 bytes of a larger PUBLISH and 97 in fragments. 1009: too big.
    let mut fragments = hex("02 FE 0F A0 00 00 00 00 30 FD 1F");
    fragments.resize(fragments.len() + 3997, b'0');
    fragments.extend(hex("80 E1 00 00 00 00"));
    fragments.resize(fragments.len() + 97, b'0');
    for large in [hex("82 FE 10 01 00 00 00 00"), fragments] {
        let (mut server, mut theirs) = server();
        theirs.write_all(&large).await.unwrap();
        assert_eq!(
            server.read().await.unwrap_err().kind(),
            MqttErrorKind::Malformed
        );
        assert_eq!(bytes(&mut theirs, 4).await, hex("88 02 03 F1"));
    }
}

#[tokio::test]
async fn a_close_frame_is_answered_and_ends_the_stream() {
    let (mut server, mut theirs) = server();
    theirs
        .write_all(&hex("88 82 00 00 00 00 03 E8"))
        .await
        .unwrap();
    assert_eq!(server.read().await.unwrap(), None);
    assert_eq!(server.read().await.unwrap(), None);
    assert_eq!(bytes(&mut theirs, 4).await, hex("88 02 03 E8"));
    assert_eq!(
        server.write(Packet::PingResp).await.unwrap_err().kind(),
        MqttErrorKind::Io
    );
    let mut server = server.into_inner();
    server.shutdown().await.unwrap();
    assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
    // A second time does no harm.
    server.shutdown().await.unwrap();

    // A client does not wait for the server to close the connection.
    let (mut client, mut theirs) = client().await;
    theirs.write_all(&hex("88 00")).await.unwrap();
    assert_eq!(client.read().await.unwrap(), None);
    assert_eq!(bytes(&mut theirs, 2).await, hex("88 80"));
}

#[tokio::test]
async fn a_close_inside_a_packet_is_an_error() {
    let (mut client, mut theirs) = client().await;
    theirs.write_all(&hex("82 01 40 88 00")).await.unwrap();
    assert_eq!(client.read().await.unwrap_err().kind(), MqttErrorKind::Io);
}

#[tokio::test]
async fn an_end_without_a_close_frame_is_an_error() {
    let (mut server, theirs) = server();
    drop(theirs);
    assert_eq!(server.read().await.unwrap_err().kind(), MqttErrorKind::Io);
    assert_eq!(server.read().await.unwrap(), None);
    assert!(server.write(Packet::PingResp).await.is_err());
}

#[tokio::test]
async fn shutting_down_sends_a_close_frame_and_continues_to_read() {
    let (server, theirs) = server();
    let mut server = server.into_inner();
    server.shutdown().await.unwrap();
    let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
    assert!(matches!(
        client.next().await,
        Some(Ok(Message::Close(None)))
    ));
    client.flush().await.unwrap();
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    let error = server.write_all(b"\xC0\x00").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
