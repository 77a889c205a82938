//! What a webhook answered: an allocation, or one of the ways it can be wrong.

use dps_types::{AllocationRequest, AllocationResponse, ErrorCode};
use serde_json::Value;

use crate::{Allocation, Rejection};

/// The largest answer: DPS takes messages of up to 96 KB.
#[cfg(feature = "client")]
pub(crate) const LIMIT: usize = 96 * 1024;

/// The webhook's allocation for the request, from the body of a 200.
pub(crate) fn read(body: &[u8], request: &AllocationRequest) -> Result<Allocation, Rejection> {
    if body.trim_ascii().is_empty() {
        return Err(failed("the webhook's answer is empty"));
    }
    let answer: Value = serde_json::from_slice(body)
        .map_err(|error| failed("the webhook's answer is not JSON").with_source(error))?;
    if !names_hub(&answer) {
        return Err(failed("the webhook's answer has no iotHubHostName")
            .with_error_code(ErrorCode::HUB_NOT_SPECIFIED));
    }
    let response: AllocationResponse = serde_json::from_value(answer).map_err(|error| {
        failed("the webhook's answer is not an allocation response").with_source(error)
    })?;
    match request.links(&response.iot_hub_host_name) {
        true => Ok(response.into()),
        false => Err(failed(format!(
            "the webhook chose {}, which is not one of the linked hubs",
            response.iot_hub_host_name
        ))),
    }
}

/// Any status but 200, in the service's own words.
pub(crate) fn bad_status(status: u16) -> Rejection {
    Rejection::new(format!(
        "Custom allocation failed with status code: {status}"
    ))
    .with_error_code(ErrorCode::CUSTOM_ALLOCATION_FAILED)
    .with_status(if status < 400 { 502 } else { status })
}

#[cfg(feature = "client")]
pub(crate) fn too_large() -> Rejection {
    failed(format!("the webhook's answer is larger than {LIMIT} bytes"))
}

/// A failure that the service has no documented words for.
pub(crate) fn failed(reason: impl AsRef<str>) -> Rejection {
    Rejection::new(format!("Custom allocation failed: {}", reason.as_ref()))
        .with_error_code(ErrorCode::CUSTOM_ALLOCATION_FAILED)
        .with_status(502)
}

/// Whether there is a host name at all. The service ignores the case of names, and so do our documents.
fn names_hub(answer: &Value) -> bool {
    let Value::Object(fields) = answer else {
        // Not a document at all: that is for the reader to say.
        return true;
    };
    fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("iotHubHostName"))
        .any(|(_, value)| !value.is_null() && value != "")
}
