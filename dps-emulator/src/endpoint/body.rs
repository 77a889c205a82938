//! Reading a request: limits on size and time, content type, JSON.

use std::time::Duration;

use ::http::{HeaderMap, Request, header};
use bytes::Bytes;
use dps_types::ErrorCode;
use dps_types::protocol::IfMatch;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::service_error::ServiceError;

/// The largest message of an operator: ten enrollments with their twins and certificates.
pub(super) const SERVICE_LIMIT: usize = 1024 * 1024;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, read completely. Its token and its keys are not for `Debug`.
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    body: Bytes,
    has_length: bool,
}

impl Call {
    pub(super) async fn read(
        request: Request<Incoming>,
        limit: usize,
    ) -> Result<Self, ServiceError> {
        let (head, body) = request.into_parts();
        if body.size_hint().lower() > limit as u64 {
            return Err(ServiceError::too_large(limit));
        }
        let read = tokio::time::timeout(PATIENCE, Limited::new(body, limit).collect()).await;
        let body = match read {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(ServiceError::too_large(limit));
            }
            Ok(Err(_)) => {
                return Err(ServiceError::new(
                    ErrorCode::FORMAT_ERROR,
                    "The body broke off.",
                ));
            }
            Err(_) => {
                return Err(ServiceError::new(
                    ErrorCode::new(408_001),
                    "The body took too long.",
                ));
            }
        };
        Ok(Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            has_length: head.headers.contains_key(header::CONTENT_LENGTH),
            headers: head.headers,
            body,
        })
    }

    /// The value of a header, when it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The version that the request is about, when it says so.
    pub(super) fn condition(&self) -> Result<Option<IfMatch>, ServiceError> {
        match self.headers.get(header::IF_MATCH) {
            Some(value) => {
                let text = value
                    .to_str()
                    .map_err(|_| ServiceError::invalid("The If-Match header is not text."))?;
                Ok(Some(text.parse()?))
            }
            None => Ok(None),
        }
    }

    /// The device API takes no chunked bodies.
    pub(super) fn require_length(&self) -> Result<(), ServiceError> {
        match self.has_length {
            true => Ok(()),
            false => Err(ServiceError::new(
                ErrorCode::LENGTH_REQUIRED,
                "A Content-Length header is required.",
            )),
        }
    }

    /// The body as a JSON document.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        let content_type = self
            .header(header::CONTENT_TYPE.as_str())
            .unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(ServiceError::new(
                ErrorCode::UNSUPPORTED_MEDIA_TYPE,
                "The Content-Type must be application/json.",
            ));
        }
        document(&self.body)
    }
}

/// A body as a document: the same over HTTPS and MQTT.
pub(super) fn document<T: DeserializeOwned>(body: &[u8]) -> Result<T, ServiceError> {
    serde_json::from_slice(body).map_err(|error| {
        match serde_json::from_slice::<IgnoredAny>(body) {
            // JSON, but not this document.
            Ok(_) => ServiceError::invalid(error.to_string()),
            Err(error) => ServiceError::new(
                ErrorCode::FORMAT_ERROR,
                format!("The body is not JSON: {error}"),
            ),
        }
    })
}
