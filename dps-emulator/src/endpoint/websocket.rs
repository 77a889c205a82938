//! MQTT and AMQP over WebSocket: the handshake, and the stream of bytes after it.
//!
//! Source: RFC 6455, section 4.2; azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_types::protocol;
use dps_websocket::{WebSocketIo, accept_key};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::Answer;
use super::call::check_headers;
use super::reply::{Body, Reply};
use super::{Caller, Gateway, Peer, Transport, amqp, mqtt};
use crate::service_error::ServiceError;

/// The largest WebSocket message: the largest MQTT packet of a device at its hub, 256 KiB of telemetry and the topic. It is
/// no limit of memory: the content of a message is passed on as it arrives, and MQTT and AMQP limit what they keep of it.
const MAX_MESSAGE: usize = 256 * 1024 + 64 * 1024;
/// The largest message of MQTT before the client has proven its identity: the largest CONNECT.
const MAX_UNPROVEN_MQTT: usize = mqtt::MAX_CONNECT;
/// The largest message of AMQP before the client has proven its identity, which it does with its first request: the largest
/// frame.
const MAX_UNPROVEN_AMQP: usize = amqp::MAX_FRAME;
/// The only version of WebSocket.
const VERSION: &str = "13";

/// The answer to a request for a WebSocket: 101 or an error. `None` if the request is not one.
///
/// Every path is accepted, with any query: SDKs use `/$iothub/websocket`, `/mqtt` (Java) and `/` (C#), and this port has no
/// other WebSocket.
pub(super) fn accept(
    gateway: &Gateway,
    peer: &Peer,
    request: &Request<Incoming>,
) -> Option<Response<Body>> {
    let headers = request.headers();
    let is_handshake = request.method() == Method::GET
        && request.version() >= Version::HTTP_11
        && has_word(headers, header::UPGRADE, "websocket")
        && has_word(headers, header::CONNECTION, "upgrade");
    is_handshake.then(|| {
        switch(headers).unwrap_or_else(|error| {
            let caller = Caller {
                peer,
                transport: Transport::Https,
            };
            gateway.refused(caller, None, &error);
            refused(&error)
        })
    })
}

fn switch(asked: &HeaderMap) -> Result<Response<Body>, ServiceError> {
    check_headers(asked)?;
    if asked
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != VERSION)
    {
        return Err(ServiceError::invalid(
            "The Sec-WebSocket-Version must be 13.",
        ));
    }
    let accept = accept_header(asked).ok_or_else(|| {
        ServiceError::invalid("The Sec-WebSocket-Key must be 16 bytes in base64.")
    })?;
    let protocol = protocol(asked).ok_or_else(|| {
        ServiceError::invalid("The Sec-WebSocket-Protocol must be mqtt or AMQPWSB10.")
    })?;

    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok(response)
}

/// The error, with the version that is supported (RFC 6455, section 4.4).
fn refused(error: &ServiceError) -> Response<Body> {
    Reply::from(Answer::error(error, 0))
        .with(header::SEC_WEBSOCKET_VERSION.as_str(), VERSION)
        .into_response()
}

/// The stream of bytes that carries MQTT or AMQP. Its messages are small until the client has proven its identity.
pub(super) fn stream(socket: Upgraded, caller: Caller<'_>) -> Socket<'_> {
    let limit = match caller.transport {
        Transport::AmqpWebSocket => MAX_UNPROVEN_AMQP,
        _ => MAX_UNPROVEN_MQTT,
    };
    Socket {
        socket: WebSocketIo::accept(TokioIo::new(socket), limit),
        unproven: Some(caller.peer),
    }
}

/// A WebSocket, and the peer while it has not proven its identity.
pub(super) struct Socket<'a> {
    socket: WebSocketIo<TokioIo<Upgraded>>,
    unproven: Option<&'a Peer>,
}

impl AsyncRead for Socket<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unproven.is_some_and(Peer::is_proven) {
            self.unproven = None;
            self.socket.set_max_message_bytes(MAX_MESSAGE);
        }
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The value that proves that the key was read.
fn accept_header(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let nonce = STANDARD.decode(key).ok()?;
    (nonce.len() == 16).then(|| HeaderValue::try_from(accept_key(key)).ok())?
}

/// The subprotocol as the client spells it: the C SDK sends `MQTT` and requires the same in the answer.
fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    words(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .find(|word| subprotocol(word).is_some())
        .and_then(|word| HeaderValue::from_str(word).ok())
}

/// The transport of the WebSocket that an answer agreed to.
pub(super) fn agreed(response: &Response<Body>) -> Option<Transport> {
    let protocol = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL)?;
    subprotocol(protocol.to_str().ok()?)
}

/// The transport of a subprotocol.
fn subprotocol(word: &str) -> Option<Transport> {
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    if is(protocol::mqtt::WEBSOCKET_PROTOCOL) {
        Some(Transport::MqttWebSocket)
    } else if is(protocol::amqp::WEBSOCKET_PROTOCOL) {
        Some(Transport::AmqpWebSocket)
    } else {
        None
    }
}

fn has_word(headers: &HeaderMap, name: HeaderName, expected: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(expected))
}

fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
}
