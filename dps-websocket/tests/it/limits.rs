//! MQTT over WebSocket with a peer that floods, and with streams that are cut anywhere.

use std::io;

use dps_mqtt::{ErrorKind as MqttErrorKind, Packet, Packets};
use dps_websocket::{ErrorKind, WebSocketIo, accept_key};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::common::{MAX, hex};

const PIPE: usize = 4 * 1024;
/// More than the peer can send before the connection ends: the capacity of the pipe, and pings without an answer.
const FLOOD: usize = 1024 * 1024;

async fn client() -> (WebSocketIo<DuplexStream>, DuplexStream) {
    let (ours, mut theirs) = duplex(PIPE);
    let switch = async {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(theirs.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.split_once("Sec-WebSocket-Key: ").unwrap().1;
        let accept = accept_key(key.split_once("\r\n").unwrap().0);
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        theirs.write_all(response.as_bytes()).await.unwrap();
    };
    let connect = WebSocketIo::connect(ours, "dps.example", "/", "mqtt", MAX);
    let (client, ()) = tokio::join!(connect, switch);
    (client.unwrap(), theirs)
}

fn server() -> (WebSocketIo<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(PIPE);
    (WebSocketIo::accept(ours, MAX), theirs)
}

/// A ping of 125 bytes.
fn ping(is_masked: bool) -> Vec<u8> {
    let mut ping = match is_masked {
        true => hex("89 FD 00 00 00 00"),
        false => hex("89 7D"),
    };
    ping.resize(ping.len() + 125, b'p');
    ping
}

/// Sends pings and reads nothing. Returns how many bytes were sent before the connection ended.
async fn flood(mut theirs: DuplexStream, is_masked: bool) -> usize {
    let ping = ping(is_masked);
    let mut sent = 0;
    while sent < FLOOD && theirs.write_all(&ping).await.is_ok() {
        sent += ping.len();
    }
    sent
}

#[tokio::test]
async fn a_peer_that_sends_pings_and_reads_nothing_is_disconnected() {
    let server = server();
    let client = client().await;
    for ((ours, theirs), is_masked) in [(server, true), (client, false)] {
        let read = async {
            let mut packets = Packets::new(ours, MAX);
            packets.read().await.unwrap_err()
        };
        let (error, sent) = tokio::join!(read, flood(theirs, is_masked));
        assert_eq!(error.kind(), MqttErrorKind::Io);
        let text = format!("{error:#}");
        assert!(text.contains("does not read"), "{text}");
        assert!(sent < FLOOD, "{sent}");
    }
}

#[tokio::test]
async fn a_peer_that_reads_may_send_any_number_of_pings() {
    let (ours, theirs) = server();
    let (mut read, mut write) = tokio::io::split(theirs);
    let pongs = async {
        let mut pongs = Vec::new();
        read.read_to_end(&mut pongs).await.unwrap();
        pongs
    };
    let pings = async {
        for _ in 0..1000 {
            write.write_all(&ping(true)).await.unwrap();
        }
        write.write_all(&hex("88 80 00 00 00 00")).await.unwrap();
    };
    let serve = async {
        let mut ours = ours;
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        ours.shutdown().await.unwrap();
    };
    let (pongs, (), ()) = tokio::join!(pongs, pings, serve);
    assert!(pongs.starts_with(&hex("8A 7D")));
    assert!(pongs.ends_with(&hex("88 00")));
}

#[tokio::test]
async fn a_ping_between_writes_is_answered_with_the_latest_payload() {
    let (mut ours, mut theirs) = server();
    theirs
        .write_all(&hex(
            "89 81 00 00 00 00 61 89 81 00 00 00 00 62 82 81 00 00 00 00 63",
        ))
        .await
        .unwrap();
    assert_eq!(ours.read_u8().await.unwrap(), b'c');
    ours.write_all(b"d").await.unwrap();
    let mut sent = vec![0; 9];
    theirs.read_exact(&mut sent).await.unwrap();
    assert_eq!(sent, hex("8A 01 61 8A 01 62 82 01 64"));
}

#[tokio::test]
async fn a_response_without_an_end_is_refused() {
    let (ours, mut theirs) = duplex(PIPE);
    let endless = async {
        let _ = theirs
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nA: ")
            .await;
        while theirs.write_all(&[b'a'; 1024]).await.is_ok() {}
    };
    let connect = async {
        WebSocketIo::connect(ours, "dps.example", "/", "mqtt", MAX)
            .await
            .map(|_| ())
            .unwrap_err()
    };
    let (error, ()) = tokio::join!(connect, endless);
    assert_eq!(error.kind(), ErrorKind::Upgrade);
    assert!(error.to_string().contains("bytes of headers"), "{error}");
}

#[tokio::test]
async fn a_close_frame_with_half_a_code_and_a_wrong_mask_are_refused() {
    for bad in [
        "88 81 00 00 00 00 03",
        "80 80 00 00 00 00",
        "02 80 00 00 00 00 82 80 00 00 00 00",
    ] {
        let (mut ours, mut theirs) = server();
        theirs.write_all(&hex(bad)).await.unwrap();
        let error = ours.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad}");
        let mut close = vec![0; 4];
        theirs.read_exact(&mut close).await.unwrap();
        assert_eq!(close, hex("88 02 03 EA"), "{bad}");
    }
    let (mut ours, mut theirs) = client().await;
    theirs
        .write_all(&hex("82 81 00 00 00 00 61"))
        .await
        .unwrap();
    let error = ours.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[derive(Clone, Debug)]
enum Sent {
    Message { fragments: Vec<Vec<u8>> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    let message = prop::collection::vec(bytes(300_usize), 1..4)
        .prop_map(|fragments| Sent::Message { fragments });
    let one = prop_oneof![
        3 => message,
        1 => bytes(125).prop_map(Sent::Ping),
        1 => bytes(125).prop_map(Sent::Pong),
    ];
    prop::collection::vec(one, 0..12)
}

fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .enumerate()
            .map(|(at, byte)| byte ^ mask[at % 4]),
    );
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stream_that_is_cut_anywhere_reads_the_same(sent in sent(), mask in any::<[u8; 4]>(), pipe in 1_usize..700) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for sent in &sent {
            match sent {
                Sent::Ping(payload) => bytes.extend(frame(0x89, payload, mask)),
                Sent::Pong(payload) => bytes.extend(frame(0x8a, payload, mask)),
                Sent::Message { fragments } => {
                    for (at, fragment) in fragments.iter().enumerate() {
                        let opcode = if at == 0 { 0x02 } else { 0x00 };
                        let end = if at + 1 == fragments.len() { 0x80 } else { 0x00 };
                        bytes.extend(frame(opcode | end, fragment, mask));
                        expected.extend_from_slice(fragment);
                    }
                }
            }
        }
        bytes.extend(frame(0x88, &[0x03, 0xe8], mask));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(async {
            let (ours, theirs) = duplex(pipe);
            let (mut sink, mut source) = tokio::io::split(theirs);
            let write = async { source.write_all(&bytes).await.unwrap() };
            let drain = async {
                let mut pongs = Vec::new();
                sink.read_to_end(&mut pongs).await.unwrap();
            };
            let serve = async {
                let mut ours = WebSocketIo::accept(ours, MAX);
                let mut read = Vec::new();
                ours.read_to_end(&mut read).await.unwrap();
                ours.shutdown().await.unwrap();
                read
            };
            tokio::join!(write, drain, serve).2
        });
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), is_server in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = if is_server { server() } else { client().await };
            theirs.write_all(&bytes).await.unwrap();
            theirs.shutdown().await.unwrap();
            let mut packets = Packets::new(ours, MAX);
            while let Ok(Some(packet)) = packets.read().await {
                let _: Packet = packet;
            }
        });
    }
}
