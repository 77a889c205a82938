//! Writing a response: headers as the service sends them, and its error body.

use ::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use dps_types::protocol::{ERROR_CODE, REQUEST_ID};
use dps_types::{ErrorDetails, Timestamp, TpmChallenge};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use crate::fault::NOT_JSON;
use crate::service_error::ServiceError;

/// The whole body at once: so there is always a Content-Length, without which the C SDK reads nothing.
pub(crate) type Body = Full<Bytes>;

/// A response in the making. It may hold keys, which are not for `Debug`.
pub(super) struct Reply {
    response: Response<Body>,
}

impl Reply {
    /// A JSON document.
    pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        match serde_json::to_vec(document) {
            Ok(body) => Self::new(status, body, &id),
            Err(error) => {
                tracing::error!(%error, "a response cannot be written");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Vec::new(), &id)
            }
        }
    }

    /// 200, and a body that a fault asked for.
    pub(super) fn malformed() -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        Self::new(StatusCode::OK, NOT_JSON.to_vec(), &id)
    }

    /// 204
    pub(super) fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// Nothing but a status.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::new(status, Vec::new(), &uuid::Uuid::new_v4().to_string())
    }

    /// An error body, its code, and what support would ask for.
    pub(super) fn refusal(refusal: &ServiceError, retry_after_seconds: u64) -> Self {
        if let Some(key) = &refusal.challenge {
            let mut challenge = TpmChallenge::new(key.to_base64());
            let message = refusal.message().into();
            challenge.extra.insert("message".to_owned(), message);
            return Self::json(StatusCode::UNAUTHORIZED, &challenge);
        }
        let id = uuid::Uuid::new_v4().to_string();
        let status =
            StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_seconds = refusal.retry_after_seconds.unwrap_or(retry_after_seconds);
        let details = error_details(refusal, &id);
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let reply = Self::new(status, body, &id).with(ERROR_CODE, refusal.code().get().to_string());
        match refusal.is_transient() {
            true => reply.with(
                header::RETRY_AFTER.as_str(),
                retry_after_seconds.to_string(),
            ),
            false => reply,
        }
    }

    /// An error as a hub words it.
    pub(super) fn hub_refusal(refusal: &ServiceError, name: &str) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        let status =
            StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({
            "Message": format!("ErrorCode:{name};{}", refusal.message()),
            "ExceptionMessage": format!("Tracking ID:{id}-TimeStamp:{}", Timestamp::now()),
        });
        Self::new(status, body.to_string().into_bytes(), &id).with("iothub-errorcode", name)
    }

    /// Adds a header. One that is not a valid header is left out.
    pub(super) fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let name = HeaderName::try_from(name);
        let value = HeaderValue::from_str(value.as_ref());
        if let (Ok(name), Ok(value)) = (name, value) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }

    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn into_response(self) -> Response<Body> {
        self.response
    }

    fn new(status: StatusCode, body: Vec<u8>, id: &str) -> Self {
        let has_body = !body.is_empty();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let reply = Self { response }.with(REQUEST_ID, id).with(
            header::STRICT_TRANSPORT_SECURITY.as_str(),
            "max-age=31536000; includeSubDomains",
        );
        match has_body {
            true => reply.with(
                header::CONTENT_TYPE.as_str(),
                "application/json; charset=utf-8",
            ),
            false => reply,
        }
    }
}

/// The error body: the same over HTTPS and MQTT.
pub(super) fn error_details(refusal: &ServiceError, tracking_id: &str) -> ErrorDetails {
    let mut details = ErrorDetails::new(refusal.code(), refusal.message());
    details.tracking_id = Some(tracking_id.to_owned());
    details.timestamp_utc = Some(Timestamp::now());
    details
}
