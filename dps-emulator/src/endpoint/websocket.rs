//! MQTT over WebSocket: the request that asks for it, and the stream that comes of it.
//!
//! Source: RFC 6455, section 4.2; azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`.

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use dps_mqtt::{WebSocketIo, accept_key};
use dps_types::protocol::decode;
use dps_types::protocol::mqtt::{WEBSOCKET_PATH, WEBSOCKET_PROTOCOL};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use super::reply::Body;

/// The largest message: as the largest MQTT packet.
const MAX_MESSAGE: usize = 128 * 1024;

/// The answer to a request for MQTT over WebSocket; `None` when it is not one.
pub(super) fn accept(request: &mut Request<Incoming>) -> Option<Response<Body>> {
    let headers = request.headers();
    // The C# SDK asks for the root path.
    let path = decode(request.uri().path())?;
    let asked = request.method() == Method::GET
        && (path.eq_ignore_ascii_case(WEBSOCKET_PATH) || path == "/")
        && has_word(headers, header::UPGRADE, "websocket")
        && has_word(headers, header::CONNECTION, "upgrade")
        && headers.get(header::SEC_WEBSOCKET_VERSION)? == "13";
    let key = accept_key(headers.get(header::SEC_WEBSOCKET_KEY)?.as_bytes());
    let protocol = protocol(headers)?;
    if !asked {
        return None;
    }
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        header::SEC_WEBSOCKET_ACCEPT,
        HeaderValue::from_str(&key).ok()?,
    );
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_str(&protocol).ok()?,
    );
    Some(response)
}

/// The byte stream that MQTT is spoken on.
pub(super) async fn stream(socket: Upgraded) -> WebSocketIo<TokioIo<Upgraded>> {
    WebSocketIo::accept(TokioIo::new(socket), MAX_MESSAGE).await
}

/// The subprotocol as the client spells it: the C SDK writes `MQTT` and wants that back.
fn protocol(headers: &HeaderMap) -> Option<String> {
    words(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .find(|word| word.eq_ignore_ascii_case(WEBSOCKET_PROTOCOL))
        .map(str::to_owned)
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
