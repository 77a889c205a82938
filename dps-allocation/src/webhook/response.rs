//! Writes the HTTP response: an allocation, or an error body.

use dps_types::AllocationResponse;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use crate::{Allocation, Rejection};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const POST: HeaderValue = HeaderValue::from_static("POST");

/// The response for an outcome. Its body is always JSON.
pub(crate) fn response(result: Result<Allocation, Rejection>) -> Response<Vec<u8>> {
    let body = result.and_then(|allocation| {
        serde_json::to_vec(&AllocationResponse::from(allocation)).map_err(|error| {
            Rejection::new("the allocation cannot be serialized")
                .with_status(500)
                .with_source(error)
        })
    });
    let (status, body) = match body {
        Ok(body) => (StatusCode::OK, body),
        Err(rejection) => (
            StatusCode::from_u16(rejection.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            serde_json::to_vec(&rejection.to_error_details()).unwrap_or_default(),
        ),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, POST);
    }
    response
}
