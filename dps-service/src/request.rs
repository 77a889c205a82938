//! One request, one answer: what is asked for, and what is read in the answer.

use bytes::Bytes;
use dps_types::protocol::service::ServiceRoute;
use dps_types::protocol::{CONTINUATION, IfMatch, MAX_ITEM_COUNT};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::pager::Continuation;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
/// The largest answer that is read: many times the largest document.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// The largest page that is read: a thousand of the largest documents.
const LARGEST_PAGE: usize = 64 * 1024 * 1024;

/// What to ask for.
pub(crate) struct Request {
    pub(crate) route: ServiceRoute,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// How many bytes of an answer are read.
    pub(crate) largest: usize,
}

impl Request {
    pub(crate) fn new(route: ServiceRoute) -> Self {
        let mut headers = HeaderMap::new();
        if route.method() == "POST" {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Self {
            route,
            headers,
            body: None,
            largest: LARGEST_ANSWER,
        }
    }

    pub(crate) fn if_match(self, condition: &IfMatch) -> Result<Self, Error> {
        self.header(IF_MATCH, &condition.to_string())
    }

    /// A page of so many items, as far as the service agrees (0: as many as it likes), from here on.
    pub(crate) fn page(mut self, size: u32, continuation: Option<&str>) -> Result<Self, Error> {
        self.largest = LARGEST_PAGE;
        if size > 0 {
            self.headers.insert(MAX_ITEM_COUNT, size.into());
        }
        match continuation {
            Some(text) => self.header(HeaderName::from_static(CONTINUATION), text),
            None => Ok(self),
        }
    }

    /// The document may hold keys: its bytes are wiped when the last attempt is done with them.
    pub(crate) fn json(mut self, document: &impl Serialize) -> Result<Self, Error> {
        let json = serde_json::to_vec(document).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the document cannot be written").with_source(error)
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
            let what = format!("the {name} does not fit into a header");
            Error::new(ErrorKind::Invalid, what).with_source(error)
        })?;
        self.headers.insert(name, value);
        Ok(self)
    }
}

/// An answer that says yes.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // serde_json quotes what it did not expect, which may be a key: only the place is told.
        serde_json::from_slice(&self.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what =
                format!("the answer is not the document asked for (line {line}, column {column})");
            Error::new(ErrorKind::Protocol, what)
        })
    }

    /// Where the next page begins, if there is one. What cannot be sent back is no end of the list.
    pub(crate) fn continuation(&self) -> Result<Option<Continuation>, Error> {
        let value = self.headers.get(CONTINUATION);
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let text = value.to_str().ok().and_then(|text| text.parse().ok());
        text.map(Some).ok_or_else(|| {
            let what = "the answer does not tell in plain text where the next page begins";
            Error::new(ErrorKind::Protocol, what)
        })
    }
}
