//! A server that reads and writes bytes under the control of a test, over TLS and over WebSocket.
//!
//! It only finds the end of a packet: OASIS, MQTT Version 3.1.1, section 2.2.3.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::MqttKind;
use crate::script::ASSIGNED;

pub(crate) const CONNACK: &[u8] = b"\x20\x02\x00\x00";
pub(crate) const SUBSCRIBE: &[u8] = b"\x82\x1d\x00\x01\x00\x18$dps/registrations/res/#\x01";
pub(crate) const SUBACK: &[u8] = b"\x90\x03\x00\x01\x01";
pub(crate) const PINGREQ: &[u8] = b"\xc0\x00";
pub(crate) const PINGRESP: &[u8] = b"\xd0\x00";
const DISCONNECT: &[u8] = b"\xe0\x00";

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";

/// The limit for one step of a test.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    timeout(limit, future).await.expect("it happens in time")
}

pub(crate) struct Server {
    kind: MqttKind,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Server {
    pub(crate) async fn start(kind: MqttKind, config: Arc<ServerConfig>) -> Self {
        Self::start_at(0, kind, config).await
    }

    /// Starts on this port, which was free before.
    pub(crate) async fn start_at(port: u16, kind: MqttKind, config: Arc<ServerConfig>) -> Self {
        Self {
            kind,
            listener: TcpListener::bind(("127.0.0.1", port)).await.unwrap(),
            acceptor: TlsAcceptor::from(config),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// A connection, and nothing more.
    pub(crate) async fn tcp(&self) -> TcpStream {
        let stream = in_time(self.listener.accept()).await.unwrap().0;
        // Otherwise small packets wait for the acknowledgement of the one before.
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection, with TLS. A device that was stopped may have left one without a handshake, which is ignored.
    pub(crate) async fn tls(&self) -> TlsStream<TcpStream> {
        loop {
            match self.tls_attempt().await {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                attempt => return attempt.unwrap(),
            }
        }
    }

    /// A connection, of which the handshake may fail.
    pub(crate) async fn tls_attempt(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = self.tcp().await;
        in_time(self.acceptor.accept(stream)).await
    }

    /// A connection on which the client is about to send its CONNECT.
    pub(crate) async fn accept(&self) -> Peer {
        let mut stream = self.tls().await;
        let tls = stream.get_ref().1;
        let certificates = tls.peer_certificates().map_or(0, <[_]>::len);
        let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
        let (stream, upgrade): (Box<dyn Stream>, _) = match self.kind {
            MqttKind::Mqtt => (Box::new(stream), String::new()),
            MqttKind::WebSocket => {
                let head = read_head(&mut stream).await;
                upgrade(&mut stream, &head, "mqtt").await;
                (Box::new(bridge(stream).await), head)
            }
        };
        Peer {
            stream,
            certificates,
            alpn,
            upgrade,
        }
    }

    /// A connection on which the client is about to send its first request.
    pub(crate) async fn session(&self) -> Peer {
        let mut peer = self.accept().await;
        assert_eq!(peer.packet().await[0], 0x10, "CONNECT");
        peer.send(CONNACK).await;
        assert_eq!(peer.packet().await, SUBSCRIBE);
        peer.send(SUBACK).await;
        peer
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connected client. Dropping it closes the connection.
pub(crate) struct Peer {
    stream: Box<dyn Stream>,
    /// The number of certificates that the client presented.
    pub(crate) certificates: usize,
    pub(crate) alpn: Option<Vec<u8>>,
    /// The request to switch to WebSocket.
    pub(crate) upgrade: String,
}

impl Peer {
    /// The next packet.
    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        in_time(read_packet(&mut self.stream)).await
    }

    /// Reads a SUBSCRIBE and grants QoS 1 for each filter.
    #[cfg(feature = "hub")]
    pub(crate) async fn subscribe(&mut self) {
        let subscribe = self.packet().await;
        assert_eq!(subscribe[0], 0x82, "SUBSCRIBE");
        let header = 1
            + subscribe[1..]
                .iter()
                .take_while(|byte| **byte > 127)
                .count()
            + 1;
        let (id, mut filters) = subscribe[header..].split_at(2);
        let mut granted = Vec::new();
        while let Some((length, rest)) = filters.split_first_chunk() {
            filters = &rest[usize::from(u16::from_be_bytes(*length)) + 1..];
            granted.push(1);
        }
        self.send(&packet(0x90, &[id, &granted].concat())).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Returns false after the client has disconnected.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// The next request, a PUBLISH of QoS 1.
    pub(crate) async fn request(&mut self) -> Request {
        Request::read(&self.packet().await)
    }

    /// The next request, `None` after the client has disconnected.
    #[cfg(all(feature = "conformance", feature = "http", feature = "websocket"))]
    pub(crate) async fn next_request(&mut self) -> Option<Request> {
        loop {
            let first = in_time(self.stream.read_u8()).await.ok()?;
            let rest = read_rest(&mut self.stream, first).await.ok()?;
            if first == 0x32 {
                return Some(Request::read(&rest));
            }
        }
    }

    pub(crate) async fn registration(&mut self) -> Request {
        let request = self.request().await;
        assert_eq!(request.operation, None);
        request
    }

    pub(crate) async fn poll(&mut self) -> Request {
        let request = self.request().await;
        assert_eq!(request.operation.as_deref(), Some(crate::script::OPERATION));
        request
    }

    /// Acknowledges and answers, and reads the acknowledgement of the answer.
    pub(crate) async fn answer(&mut self, to: &Request, status: &str, more: &str, body: &str) {
        self.send(&to.acknowledgement()).await;
        self.send(&to.answer(status, more, body)).await;
        assert_eq!(self.packet().await, b"\x40\x02\x00\x07", "PUBACK");
    }

    pub(crate) async fn assign(&mut self, to: &Request) {
        self.answer(to, "200", "", ASSIGNED).await;
    }

    /// Waits until the client has closed the connection, with at most a DISCONNECT before.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        // A connection may end without the end of TLS.
        let _ = in_time(self.stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty() || rest == DISCONNECT, "{rest:x?}");
    }
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: [u8; 2],
    pub(crate) rid: String,
    pub(crate) operation: Option<String>,
    pub(crate) body: String,
}

impl Request {
    fn read(packet: &[u8]) -> Self {
        assert_eq!(
            packet[0], 0x32,
            "a PUBLISH of QoS 1, not a duplicate, not retained"
        );
        let rest = &packet[1 + packet[1..].iter().take_while(|byte| **byte > 127).count() + 1..];
        let (length, rest) = rest.split_first_chunk().unwrap();
        let (topic, rest) = rest.split_at(u16::from_be_bytes(*length).into());
        let (id, body) = rest.split_first_chunk().unwrap();
        let topic = std::str::from_utf8(topic).unwrap();
        let (rid, operation) = match topic.strip_prefix(REGISTER) {
            Some(rid) => (rid, None),
            None => {
                let rest = topic.strip_prefix(STATUS).unwrap();
                let (rid, operation) = rest.split_once("&operationId=").unwrap();
                (rid, Some(operation.to_owned()))
            }
        };
        Self {
            id: *id,
            rid: rid.to_owned(),
            operation,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// PUBACK.
    pub(crate) fn acknowledgement(&self) -> Vec<u8> {
        [b"\x40\x02", &self.id[..]].concat()
    }

    /// A PUBLISH of QoS 1 with the packet identifier 7.
    pub(crate) fn answer(&self, status: &str, more: &str, body: &str) -> Vec<u8> {
        let rid = &self.rid;
        let topic = format!("$dps/registrations/res/{status}/?$rid={rid}{more}");
        publish(0x32, &topic, b"\x00\x07", body.as_bytes())
    }
}

pub(crate) fn publish(first: u8, topic: &str, id: &[u8], body: &[u8]) -> Vec<u8> {
    packet(first, &[&string(topic), id, body].concat())
}

/// A string as MQTT has it: its length in two bytes, then its bytes.
pub(crate) fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// A packet of this type and content, with its length.
pub(crate) fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = rest.len();
    while length > 127 {
        packet.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    packet.push(length as u8);
    packet.extend(rest);
    packet
}

async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let first = stream.read_u8().await.unwrap();
    read_rest(stream, first).await.unwrap()
}

async fn read_rest(stream: &mut (impl AsyncRead + Unpin), first: u8) -> std::io::Result<Vec<u8>> {
    let mut packet = vec![first];
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let byte = stream.read_u8().await?;
        packet.push(byte);
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    let header = packet.len();
    packet.resize(header + length, 0);
    stream.read_exact(&mut packet[header..]).await?;
    Ok(packet)
}

/// An HTTP request without a body.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The value of a header, whose name is in lower case.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Accepts a WebSocket upgrade.
pub(crate) async fn upgrade(stream: &mut (impl AsyncWrite + Unpin), head: &str, subprotocol: &str) {
    let key = header(head, "sec-websocket-key").unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let subprotocol = match subprotocol {
        "" => String::new(),
        name => format!("Sec-WebSocket-Protocol: {name}\r\n"),
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{subprotocol}\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// The bytes inside of a WebSocket.
async fn bridge(stream: TlsStream<TcpStream>) -> DuplexStream {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let (ours, theirs) = duplex(1 << 20);
    tokio::spawn(async move {
        let (mut reader, mut writer) = split(theirs);
        let mut bytes = vec![0; 4096];
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => writer.write_all(&bytes).await.unwrap(),
                    _ => return,
                },
                length = reader.read(&mut bytes) => match length {
                    Ok(0) | Err(_) => return,
                    Ok(length) => {
                        let message = Message::binary(bytes[..length].to_vec());
                        if socket.send(message).await.is_err() {
                            return;
                        }
                    }
                },
            }
        }
    });
    ours
}
