//! Interprets a webhook's answer as DPS does: an allocation, or the reason why the answer is not usable.

mod diagnosis;

use dps_types::{AllocationRequest, AllocationResponse, ErrorCode, json};
use serde_json::Value;

use self::diagnosis::{HUB, explain, member};
use crate::{Allocation, Rejection, RejectionKind};

/// The largest answer, in bytes: DPS accepts messages of up to 96 KB.
#[cfg(feature = "client")]
pub(crate) const MAX_BYTES: usize = 96 * 1024;

/// Reads the webhook's allocation for the request from the body of a response with status 200.
pub(crate) fn read(body: &[u8], request: &AllocationRequest) -> Result<Allocation, Rejection> {
    let answer = parse(body).map_err(invalid)?;
    if let Value::Object(members) = &answer {
        let hub = member(members, HUB);
        if hub.is_none_or(|hub| hub.is_null() || hub == "") {
            let reason = diagnosis::without_hub(members);
            return Err(invalid(reason).with_error_code(ErrorCode::HUB_NOT_SPECIFIED));
        }
    }
    let response: AllocationResponse = match serde_json::from_value(answer.clone()) {
        Ok(response) => response,
        Err(error) => return Err(invalid(explain(&answer, &error)).with_source(error)),
    };
    let allocation = Allocation::from(response);
    check_depth(&allocation).map_err(|what| invalid(format!("the webhook's {what}")))?;
    match request.links(allocation.hub()) {
        true => Ok(allocation),
        false => Err(invalid(diagnosis::not_linked(allocation.hub(), request))),
    }
}

/// Checks the values that DPS stores as they are. A value that is nested too deep could not be read again.
pub(crate) fn check_depth(allocation: &Allocation) -> Result<(), String> {
    let response = allocation.response();
    let twin = response.initial_twin.as_ref();
    let desired = twin.and_then(|twin| twin.properties.as_ref()?.desired.as_ref());
    let in_twin = [twin.and_then(|twin| twin.tags.as_ref()), desired];
    let in_twin = in_twin.into_iter().flatten();
    let mut in_twin = in_twin.flat_map(|values| values.iter().map(|(_, value)| value));
    let is_too_deep = |value: &Value| json::check_depth(value).is_err();
    let name = match &response.payload {
        Some(payload) if is_too_deep(payload) => "payload",
        _ if in_twin.any(is_too_deep) => "initialTwin",
        _ => return Ok(()),
    };
    let levels = json::MAX_DEPTH;
    Err(format!("{name} is nested deeper than {levels} levels"))
}

/// Any status except 200, in the service's own words.
pub(crate) fn bad_status(status: u16) -> Rejection {
    let kind = match status {
        // The policy behind the webhook answers so, and so do most functions that validate their input.
        400 | 409 | 422 => RejectionKind::Declined,
        408 | 429 | 500.. => RejectionKind::Unavailable,
        _ => RejectionKind::Protocol,
    };
    Rejection::new(format!(
        "Custom allocation failed with status code: {status}"
    ))
    .with_kind(kind)
    .with_error_code(ErrorCode::CUSTOM_ALLOCATION_FAILED)
    .with_status(if status < 400 { 502 } else { status })
}

#[cfg(feature = "client")]
pub(crate) fn too_large() -> Rejection {
    invalid(format!(
        "the webhook's answer is larger than {MAX_BYTES} bytes"
    ))
}

/// The webhook cannot be asked, or its answer does not arrive. The service documents no message for it.
pub(crate) fn unavailable(reason: impl AsRef<str>) -> Rejection {
    failed(reason).with_kind(RejectionKind::Unavailable)
}

/// The answer is not a valid allocation response. The service documents no message for it.
fn invalid(reason: impl AsRef<str>) -> Rejection {
    failed(reason).with_kind(RejectionKind::Protocol)
}

fn failed(reason: impl AsRef<str>) -> Rejection {
    Rejection::new(format!("Custom allocation failed: {}", reason.as_ref()))
        .with_error_code(ErrorCode::CUSTOM_ALLOCATION_FAILED)
        .with_status(502)
}

/// Parses the body, or explains why it is not JSON.
fn parse(body: &[u8]) -> Result<Value, String> {
    json::from_slice(body).map_err(|error| diagnosis::not_json(body, &error))
}
