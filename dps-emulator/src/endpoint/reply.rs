//! Writing an HTTP response, with the headers that the service sends.

use ::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use dps_types::Timestamp;
use dps_types::protocol::{ERROR_CODE, REQUEST_ID};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use super::answer::Answer;
use crate::service_error::ServiceError;

/// The whole body at once, so that there is always a Content-Length. Without it the C SDK reads nothing.
pub(crate) type Body = Full<Bytes>;

/// A response. It may hold keys, so there is no `Debug`.
pub(super) struct Reply {
    response: Response<Body>,
    body: Bytes,
}

impl Reply {
    /// A JSON document.
    pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Self {
        Answer::json(status.as_u16(), document).into()
    }

    /// 204
    pub(super) fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// A status without a body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Answer::new(status.as_u16(), Vec::new()).into()
    }

    /// A body that is not JSON. The caller sets its type.
    pub(super) fn bytes(status: u16, body: Vec<u8>) -> Self {
        Answer::new(status, body).into()
    }

    /// An error in the shape of a hub.
    pub(super) fn hub_error(error: &ServiceError, name: &str) -> Self {
        let answer = Answer::new(error.status(), Vec::new());
        let body = json!({
            "Message": format!("ErrorCode:{name};{}", error.message()),
            "ExceptionMessage":
                format!("Tracking ID:{}-TimeStamp:{}", answer.tracking_id, Timestamp::now()),
        });
        let body = body.to_string().into_bytes();
        Self::from(Answer { body, ..answer }).with("iothub-errorcode", name)
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

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn into_response(self) -> Response<Body> {
        self.response
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        let has_body = !answer.body.is_empty();
        let body = Bytes::from(answer.body);
        let mut response = Response::new(Body::from(body.clone()));
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut reply = Self { response, body }
            .with(REQUEST_ID, answer.tracking_id)
            .with(
                header::STRICT_TRANSPORT_SECURITY.as_str(),
                "max-age=31536000; includeSubDomains",
            );
        if has_body {
            let json = "application/json; charset=utf-8";
            reply = reply.with(header::CONTENT_TYPE.as_str(), json);
        }
        if let Some(code) = answer.error_code {
            reply = reply.with(ERROR_CODE, code.get().to_string());
        }
        if let Some(seconds) = answer.retry_after {
            reply = reply.with(header::RETRY_AFTER.as_str(), seconds.to_string());
        }
        reply
    }
}
