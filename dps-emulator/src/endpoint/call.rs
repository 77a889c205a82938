//! Reading an HTTP request: limits on size and time, headers, api-version, JSON.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, Request, header};
use bytes::Bytes;
use dps_types::protocol::{
    ApiVersion, CONTINUATION, IfMatch, MAX_ITEM_COUNT, single_query_parameter,
};
use dps_types::{ErrorCode, json};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::instance::Instance;
use crate::service_error::ServiceError;

/// The largest body of a service client: ten enrollments with their twins and certificates.
pub(super) const SERVICE_LIMIT: usize = 1024 * 1024;

/// The time within which a body must arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The time for which the body of a refused request is read and dropped.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Headers that have one value. Which of two counts would depend on the reader.
const SINGLE: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::IF_MATCH,
    HeaderName::from_static(CONTINUATION),
    HeaderName::from_static(MAX_ITEM_COUNT),
];

/// A request. Its token and its keys do not belong in `Debug`.
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// Whether it needs no token.
    pub(super) is_trusted: bool,
    headers: HeaderMap,
    /// The part of the body that has not been read.
    incoming: Option<Incoming>,
    body: Bytes,
}

impl Call {
    /// The head of a request. [`Call::receive`] reads the body.
    pub(super) fn new(request: Request<Incoming>) -> Self {
        let (head, body) = request.into_parts();
        Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            is_trusted: false,
            headers: head.headers,
            incoming: Some(body),
            body: Bytes::new(),
        }
    }

    /// The head of a request that needs no token. Its api-version is `latest` unless it names another.
    #[cfg(feature = "control")]
    pub(super) fn trusted(request: Request<Incoming>, latest: &str) -> Self {
        let mut call = Self::new(request);
        call.is_trusted = true;
        // One that is there twice is refused later.
        let version = single_query_parameter(&call.query, ApiVersion::PARAMETER);
        if matches!(version, Ok(None)) {
            let separator = if call.query.is_empty() { "" } else { "&" };
            let name = ApiVersion::PARAMETER;
            call.query += &format!("{separator}{name}={latest}");
        }
        call
    }

    /// A whole request that needs no token.
    #[cfg(feature = "control")]
    pub(super) fn again(
        method: &str,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            is_trusted: true,
            headers,
            incoming: None,
            body,
        }
    }

    /// Refuses a request with two values for a header that has one.
    pub(super) fn check_headers(&self) -> Result<(), ServiceError> {
        check_headers(&self.headers)
    }

    /// Reads the body.
    pub(super) async fn receive(&mut self, limit: usize) -> Result<(), ServiceError> {
        let Some(body) = self.incoming.take() else {
            return Ok(());
        };
        if body.size_hint().lower() > limit as u64 {
            self.incoming = Some(body);
            return Err(ServiceError::too_large(limit));
        }
        let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
        self.body = match read {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(ServiceError::too_large(limit));
            }
            Ok(Err(_)) => return Err(cut_off()),
            Err(_) => return Err(too_slow()),
        };
        Ok(())
    }

    /// The next part of a body that is too large to be read at once; `None` at its end.
    pub(super) async fn next_data(&mut self) -> Result<Option<Bytes>, ServiceError> {
        let Some(body) = &mut self.incoming else {
            return Ok(None);
        };
        loop {
            let data = match tokio::time::timeout(BODY_TIMEOUT, body.frame()).await {
                Ok(None) => Ok(None),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    Err(_) => continue,
                },
                Ok(Some(Err(_))) => Err(cut_off()),
                Err(_) => Err(too_slow()),
            };
            if !matches!(data, Ok(Some(_))) {
                self.incoming = None;
            }
            return data;
        }
    }

    /// Reads and drops a body that a refused request still sends: a connection that is closed with unread data is reset,
    /// and the client may lose the answer.
    pub(super) async fn discard(&mut self) {
        if let Some(body) = self.incoming.take() {
            let mut body = Limited::new(body, SERVICE_LIMIT);
            let all = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = tokio::time::timeout(DISCARD_TIMEOUT, all).await;
        }
    }

    /// The value of a header that has one value, if it is there.
    pub(super) fn text(&self, name: HeaderName) -> Result<Option<&str>, ServiceError> {
        let Some(value) = self.headers.get(&name) else {
            return Ok(None);
        };
        match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(ServiceError::invalid(format!(
                "The {name} header is not ASCII text."
            ))),
        }
    }

    pub(super) fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.keys()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The value of `If-Match`.
    pub(super) fn condition(&self) -> Result<Option<IfMatch>, ServiceError> {
        Ok(self.text(header::IF_MATCH)?.map(str::parse).transpose()?)
    }

    /// The device API does not accept chunked bodies.
    pub(super) fn require_length(&self) -> Result<(), ServiceError> {
        match self.headers.contains_key(header::CONTENT_LENGTH) {
            true => Ok(()),
            false => Err(ServiceError::new(
                ErrorCode::LENGTH_REQUIRED,
                "A Content-Length header is required.",
            )),
        }
    }

    /// Refuses a body of another media type than JSON.
    pub(super) fn require_json(&self) -> Result<(), ServiceError> {
        let content_type = self.text(header::CONTENT_TYPE)?.unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match media_type.eq_ignore_ascii_case("application/json") {
            true => Ok(()),
            false => Err(ServiceError::new(
                ErrorCode::UNSUPPORTED_MEDIA_TYPE,
                "The Content-Type must be application/json.",
            )),
        }
    }

    /// The body as a JSON document.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        self.require_json()?;
        document(&self.body)
    }
}

fn cut_off() -> ServiceError {
    ServiceError::new(
        ErrorCode::FORMAT_ERROR,
        "The connection failed before the whole body arrived.",
    )
}

fn too_slow() -> ServiceError {
    let seconds = BODY_TIMEOUT.as_secs();
    ServiceError::new(
        ErrorCode::new(408_001),
        format!("The body did not arrive within {seconds} seconds."),
    )
}

/// Refuses a request with two values for a header that has one.
pub(crate) fn check_headers(headers: &HeaderMap) -> Result<(), ServiceError> {
    for name in &SINGLE {
        if headers.get_all(name).into_iter().nth(1).is_some() {
            return Err(ServiceError::new(
                ErrorCode::FORMAT_ERROR,
                format!("The request has more than one {name} header."),
            ));
        }
    }
    Ok(())
}

/// A body as a document: the same for every transport. A byte order mark before it is skipped.
pub(super) fn document<T: DeserializeOwned>(body: &[u8]) -> Result<T, ServiceError> {
    json::from_slice(body).map_err(|error| {
        match json::from_slice::<IgnoredAny>(body) {
            // JSON, but not this document.
            Ok(_) => ServiceError::invalid(error.to_string()),
            Err(error) => ServiceError::new(
                ErrorCode::FORMAT_ERROR,
                format!("The body is not JSON: {error}"),
            ),
        }
    })
}

/// The api-version of a request, which the instance must accept.
pub(super) fn api_version(query: &str, instance: &Instance) -> Result<ApiVersion, ServiceError> {
    let refused = |message: String| ServiceError::new(ErrorCode::INVALID_PROTOCOL_VERSION, message);
    let text = parameter(query, ApiVersion::PARAMETER)?
        .ok_or_else(|| refused("The api-version query parameter is missing.".to_owned()))?;
    match text.parse::<ApiVersion>() {
        Ok(version) if instance.accepts(version) => Ok(version),
        _ => Err(refused(format!("The api-version '{text}' is not known."))),
    }
}

/// The value of a query parameter, decoded. A parameter that is there twice is refused: which one counts would depend on
/// the reader.
pub(super) fn parameter(query: &str, name: &str) -> Result<Option<String>, ServiceError> {
    single_query_parameter(query, name).map_err(|_| {
        ServiceError::invalid(format!("The query parameter {name} occurs more than once."))
    })
}
