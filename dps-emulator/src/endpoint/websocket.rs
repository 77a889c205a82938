//! MQTT over WebSocket: the request that asks for it, and the stream that comes of it.
//!
//! Source: RFC 6455, section 4.2; azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`.

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_mqtt::{WebSocketIo, accept_key};
use dps_types::protocol::decode;
use dps_types::protocol::mqtt::{WEBSOCKET_PATH, WEBSOCKET_PROTOCOL};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use super::reply::{Body, Reply};
use crate::service_error::ServiceError;

/// The largest message: as the largest MQTT packet.
const MAX_MESSAGE: usize = 128 * 1024;
/// The only version of WebSocket.
const VERSION: &str = "13";

/// The answer to a request for a WebSocket: 101, or what is wrong with it; `None` when it is not one.
pub(super) fn accept(request: &Request<Incoming>) -> Option<Response<Body>> {
    let headers = request.headers();
    // The C# SDK asks for the root path.
    let path = decode(request.uri().path())?;
    let asked = request.method() == Method::GET
        && request.version() >= Version::HTTP_11
        && (path.eq_ignore_ascii_case(WEBSOCKET_PATH) || path == "/")
        && has_word(headers, header::UPGRADE, "websocket")
        && has_word(headers, header::CONNECTION, "upgrade");
    asked.then(|| switch(headers).unwrap_or_else(refused))
}

fn switch(asked: &HeaderMap) -> Result<Response<Body>, &'static str> {
    if asked
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != VERSION)
    {
        return Err("The Sec-WebSocket-Version must be 13.");
    }
    let accept = accept_header(asked).ok_or("The Sec-WebSocket-Key must be 16 bytes in base64.")?;
    let protocol = protocol(asked).ok_or("The Sec-WebSocket-Protocol must be mqtt.")?;

    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok(response)
}

/// Says why, and which version there is (RFC 6455, section 4.4).
fn refused(reason: &str) -> Response<Body> {
    Reply::refusal(&ServiceError::invalid(reason), 0)
        .with(header::SEC_WEBSOCKET_VERSION.as_str(), VERSION)
        .into_response()
}

/// The byte stream that MQTT is spoken on.
pub(super) async fn stream(socket: Upgraded) -> WebSocketIo<TokioIo<Upgraded>> {
    WebSocketIo::accept(TokioIo::new(socket), MAX_MESSAGE)
}

/// What proves that the key was read.
fn accept_header(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let nonce = STANDARD.decode(key).ok()?;
    (nonce.len() == 16).then(|| HeaderValue::try_from(accept_key(key)).ok())?
}

/// The subprotocol as the client spells it: the C SDK writes `MQTT` and wants that back.
fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    words(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .find(|word| word.eq_ignore_ascii_case(WEBSOCKET_PROTOCOL))
        .and_then(|word| HeaderValue::from_str(word).ok())
}

fn has_word(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
}
