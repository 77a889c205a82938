//! One request to the service, and its answer.

use bytes::Bytes;
use dps_types::json;
use dps_types::protocol::service::ServiceRoute;
use dps_types::protocol::{ApiVersion, CONTINUATION, IfMatch, MAX_ITEM_COUNT};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::continuation::Continuation;
use crate::error::{Error, ErrorKind};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
/// The limit for an answer, many times the largest document.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The limit for a page, a thousand times the largest document.
const MAX_PAGE: usize = 64 * 1024 * 1024;

/// A request, without host and credentials.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) route: ServiceRoute,
    /// The api-version that the body requires. `None` is that of the client.
    pub(crate) api_version: Option<ApiVersion>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// The limit for the answer, in bytes.
    pub(crate) max_answer: usize,
}

impl Request {
    pub(crate) fn new(route: ServiceRoute) -> Self {
        let mut headers = HeaderMap::new();
        if route.method() == "POST" {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Self {
            route,
            api_version: None,
            headers,
            body: None,
            max_answer: MAX_ANSWER,
        }
    }

    pub(crate) fn with_api_version(mut self, version: ApiVersion) -> Self {
        self.api_version = Some(version);
        self
    }

    pub(crate) fn if_match(self, condition: &IfMatch) -> Result<Self, Error> {
        self.header(IF_MATCH, &condition.to_string())
    }

    /// Asks for a page of at most this many items (0: the service chooses), beginning here.
    pub(crate) fn page(mut self, size: u32, continuation: Option<&str>) -> Result<Self, Error> {
        self.max_answer = MAX_PAGE;
        if size > 0 {
            self.headers.insert(MAX_ITEM_COUNT, size.into());
        }
        match continuation {
            Some(text) => self.header(HeaderName::from_static(CONTINUATION), text),
            None => Ok(self),
        }
    }

    /// Sets the body. It may contain keys, so its bytes are wiped after the last attempt.
    pub(crate) fn json(mut self, document: &impl Serialize) -> Result<Self, Error> {
        let json = serde_json::to_vec(document).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the document cannot be serialized").with_source(error)
        })?;
        self.body = Some(Bytes::from_owner(Zeroizing::new(json)));
        self.headers.remove(CONTENT_LENGTH);
        self.headers.insert(CONTENT_TYPE, JSON);
        Ok(self)
    }

    pub(crate) fn method(&self) -> Method {
        match self.route.method() {
            "PUT" => Method::PUT,
            "DELETE" => Method::DELETE,
            "POST" => Method::POST,
            _ => Method::GET,
        }
    }

    fn header(mut self, name: HeaderName, value: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(value).map_err(|error| {
            let message = format!("the {name} contains characters that a header cannot contain");
            Error::new(ErrorKind::Invalid, message).with_source(error)
        })?;
        self.headers.insert(name, value);
        Ok(self)
    }
}

/// A successful answer.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // The message of serde_json quotes the value, which may be a key, so only the position is reported.
        json::from_slice(&self.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message =
                format!("the answer is not the requested document (line {line}, column {column})");
            Error::new(ErrorKind::Protocol, message)
        })
    }

    /// Returns the place where the next page begins, if there is one. A token that cannot be sent back is an error, because
    /// the list has not ended.
    pub(crate) fn continuation(&self) -> Result<Option<Continuation>, Error> {
        let value = self.headers.get(CONTINUATION);
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let text = value.to_str().ok().and_then(|text| text.parse().ok());
        text.map(Some).ok_or_else(|| {
            let message = "the continuation token in the answer is not ASCII text";
            Error::new(ErrorKind::Protocol, message)
        })
    }
}
