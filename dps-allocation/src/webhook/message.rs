//! The parts of a request and of its answer.

use std::fmt;

use dps_types::AllocationResponse;

use crate::{Allocation, Rejection};

/// The parts of an HTTP request that a webhook looks at. The path is not one of them.
///
/// Every part must be given, so that an adapter forgets none.
#[derive(Clone, Copy)]
#[allow(clippy::exhaustive_structs)]
pub struct WebhookRequest<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The header `Content-Type`.
    pub content_type: Option<&'a str>,
    /// The query of the URL, without the `?`, as it was sent.
    pub query: Option<&'a str>,
    /// The header `x-functions-key`.
    pub function_key_header: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
}

impl fmt::Debug for WebhookRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Query and header hold the function key.
        f.debug_struct("WebhookRequest")
            .field("method", &self.method)
            .field("content_type", &self.content_type)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The parts of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookReply {
    /// The HTTP status.
    pub status: u16,
    /// The body: always JSON.
    pub body: Vec<u8>,
}

impl WebhookReply {
    /// The headers to send with it, names in lower case: `content-type`, and `allow` where the method was wrong.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let allow = (self.status == 405).then_some(("allow", "POST"));
        std::iter::once(("content-type", "application/json; charset=utf-8")).chain(allow)
    }

    fn allocated(allocation: Allocation) -> Self {
        match serde_json::to_vec(&AllocationResponse::from(allocation)) {
            Ok(body) => Self { status: 200, body },
            Err(error) => Self::rejected(
                &Rejection::new("the allocation cannot be written")
                    .with_status(500)
                    .with_source(error),
            ),
        }
    }

    pub(crate) fn rejected(rejection: &Rejection) -> Self {
        Self {
            status: rejection.status(),
            body: serde_json::to_vec(&rejection.to_error_details()).unwrap_or_default(),
        }
    }
}

impl From<Result<Allocation, Rejection>> for WebhookReply {
    fn from(answer: Result<Allocation, Rejection>) -> Self {
        match answer {
            Ok(allocation) => Self::allocated(allocation),
            Err(rejection) => Self::rejected(&rejection),
        }
    }
}
