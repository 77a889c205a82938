//! Responses of the control endpoint.

use std::convert::Infallible;
use std::io;

use ::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use serde_json::json;

/// The body of a response: a document, or a stream of events.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Headers of every response. The page has no asset of another origin, and is in no frame.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// A request that cannot be answered: the status and the reason.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) reason: String,
    /// The methods of the path.
    allow: Option<&'static str>,
}

/// An answer, or the reason of a failure.
pub(super) type Answer = Result<Response<Body>, Failure>;

impl Failure {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            allow: None,
        }
    }

    pub(super) fn method_not_allowed(methods: &'static str) -> Self {
        let reason = format!("this path has the methods {methods}");
        Self {
            allow: Some(methods),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, reason)
        }
    }

    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }

    pub(super) fn response(self) -> Response<Body> {
        let mut response = json(self.status, &json!({ "error": self.reason }));
        if let Some(methods) = self.allow {
            let methods = HeaderValue::from_static(methods);
            response.headers_mut().insert(header::ALLOW, methods);
        }
        response
    }
}

impl From<crate::service_error::ServiceError> for Failure {
    fn from(error: crate::service_error::ServiceError) -> Self {
        let status = StatusCode::from_u16(error.status());
        Self::new(
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            error.message(),
        )
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        let status = match error.kind() {
            crate::ErrorKind::DeviceNotFound => StatusCode::NOT_FOUND,
            crate::ErrorKind::InvalidTwin | crate::ErrorKind::InvalidMessage => {
                StatusCode::BAD_REQUEST
            }
            crate::ErrorKind::DeviceNotOnline
            | crate::ErrorKind::QueueFull
            | crate::ErrorKind::InvalidRequest => StatusCode::CONFLICT,
            crate::ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

/// A JSON document.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(document).unwrap_or_default();
    document_of(status, "application/json", text)
}

/// 200 with a JSON document.
pub(super) fn ok(document: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, document))
}

/// 200 with a JSON document of at most this number of bytes.
pub(super) fn ok_within(limit: usize, document: &impl Serialize) -> Answer {
    let mut text = Bounded {
        bytes: Vec::new(),
        limit,
    };
    match serde_json::to_writer(&mut text, document) {
        Ok(()) => Ok(document_of(StatusCode::OK, "application/json", text.bytes)),
        Err(_) => Err(Failure::new(
            StatusCode::INSUFFICIENT_STORAGE,
            format!(
                "the document has more than {limit} bytes, which is the most that the emulator reads: copy its store instead"
            ),
        )),
    }
}

/// A text that does not grow beyond a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.limit - self.bytes.len() < bytes.len() {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => {
                self.bytes.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// 200 with a text of this media type.
pub(super) fn text(media_type: &'static str, text: impl Into<Bytes>) -> Answer {
    Ok(document_of(StatusCode::OK, media_type, text))
}

/// 204
pub(super) fn no_content() -> Answer {
    let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(with_headers(response))
}

/// Server-sent events, each with its id and its data.
pub(super) fn events<S>(events: S) -> Response<Body>
where
    S: Stream<Item = String> + Send + 'static,
{
    let frames = events.map(|event| Ok(Frame::data(Bytes::from(event))));
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    let media_type = HeaderValue::from_static("text/event-stream");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    with_headers(response)
}

/// A response of the service API.
pub(super) fn from_service(response: Response<Full<Bytes>>) -> Response<Body> {
    let mut response = response.map(BodyExt::boxed_unsync);
    response
        .headers_mut()
        .remove(header::STRICT_TRANSPORT_SECURITY);
    with_headers(response)
}

fn document_of(
    status: StatusCode,
    media_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    with_headers(response)
}

fn with_headers(mut response: Response<Body>) -> Response<Body> {
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_document_may_be_as_large_as_the_limit() {
        let document = json!({ "a": "bcdef" });
        let answer = ok_within(13, &document).expect("13 bytes");
        let body = answer.into_body().collect().await.expect("it is whole");
        assert_eq!(body.to_bytes(), r#"{"a":"bcdef"}"#);
        let failure = ok_within(12, &document).expect_err("one byte more");
        assert_eq!(failure.status, StatusCode::INSUFFICIENT_STORAGE);
        assert!(failure.reason.contains("12 bytes"), "{}", failure.reason);
    }
}
