//! Reads a request to the control endpoint: path, query, and a body with limits.

use std::time::Duration;

use ::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use dps_types::protocol::{decode, single_query_parameter};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::reply::Failure;

/// The largest body, in bytes. A state has its own limit.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;
/// The time within which a body must arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The number of items in a list if the request does not ask for another.
const DEFAULT_LIMIT: usize = 100;
/// The most items in a list.
const MAX_LIMIT: usize = 1000;

/// A request.
pub(super) struct Ask {
    pub(super) method: Method,
    /// The decoded segments of the path.
    pub(super) segments: Vec<String>,
    pub(super) query: String,
    pub(super) request: Request<Incoming>,
}

impl Ask {
    pub(super) fn new(request: Request<Incoming>) -> Result<Self, Failure> {
        let path = request.uri().path();
        let segments: Option<Vec<String>> = match path.trim_matches('/') {
            "" => Some(Vec::new()),
            path => path.split('/').map(decode).collect(),
        };
        let segments = segments.ok_or_else(|| Failure::invalid("the path is not valid"))?;
        Ok(Self {
            method: request.method().clone(),
            segments,
            query: request.uri().query().unwrap_or_default().to_owned(),
            request,
        })
    }

    /// A query parameter, decoded. One that is there twice is refused: which one counts would depend on the reader.
    pub(super) fn parameter(&self, name: &str) -> Result<Option<String>, Failure> {
        single_query_parameter(&self.query, name).map_err(|_| {
            Failure::invalid(format!("the query parameter {name} occurs more than once"))
        })
    }

    /// A query parameter that is a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.parameter(name)? else {
            return Ok(None);
        };
        let number = text.parse();
        number
            .map(Some)
            .map_err(|_| Failure::invalid(format!("'{text}' is not a valid {name}: a number")))
    }

    /// The number of items that a list should have.
    pub(super) fn limit(&self) -> Result<usize, Failure> {
        let limit = self.number("limit")?;
        Ok(limit.map_or(DEFAULT_LIMIT, |limit| {
            usize::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT)
        }))
    }

    /// The body as JSON. An empty body is an empty object.
    pub(super) async fn json<T: DeserializeOwned>(self, limit: usize) -> Result<T, Failure> {
        let media_type = self.request.headers().get(header::CONTENT_TYPE).cloned();
        let body = read(self.request, limit).await?;
        if body.trim_ascii().is_empty() {
            return serde_json::from_slice(b"{}").map_err(not_valid);
        }
        let is_json = media_type.is_none_or(|it| {
            let it = it.as_bytes().to_ascii_lowercase();
            it.starts_with(b"application/json")
        });
        if !is_json {
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the Content-Type must be application/json",
            ));
        }
        serde_json::from_slice(&body).map_err(not_valid)
    }
}

fn not_valid(error: serde_json::Error) -> Failure {
    Failure::invalid(format!("the body is not valid: {error}"))
}

async fn read(request: Request<Incoming>, limit: usize) -> Result<Bytes, Failure> {
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {limit} bytes"),
        )),
        Ok(Err(_)) => Err(Failure::invalid(
            "the connection failed before the body arrived",
        )),
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "the body did not arrive within {} seconds",
                BODY_TIMEOUT.as_secs()
            ),
        )),
    }
}
