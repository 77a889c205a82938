//! Interprets a reply of the service: the status first, then the body.

use std::time::Duration;

use dps_types::{
    DeviceRegistrationResult, ErrorCode, ErrorDetails, OperationId, RegistrationId,
    RegistrationOperationStatus, RegistrationStatus, json,
};
use serde::de::DeserializeOwned;

use crate::assignment::Assignment;
use crate::error::{Error, ErrorKind};
use crate::transport::reply::Reply;

/// The state of a registration that has not failed.
#[derive(Debug)]
pub(crate) enum Progress {
    Assigned(Box<Assignment>),
    Pending {
        operation_id: OperationId,
        retry_after: Option<Duration>,
    },
}

/// Returns a success, and converts any other status to an error. The body never changes the kind of the error, except for
/// the code of a conflict.
pub(crate) fn accept(reply: Reply) -> Result<Reply, Error> {
    let status = reply.status;
    if (200..300).contains(&status) {
        return Ok(reply);
    }
    let details = error_details(&reply.body);
    let code = details.as_ref().and_then(|details| details.error_code);
    let (kind, what) = match status {
        _ if code == Some(ErrorCode::REGISTRATION_CONFLICT) => (
            ErrorKind::Service,
            "another registration of the device is in progress",
        ),
        401 | 403 => (ErrorKind::Unauthorized, "the credentials were refused"),
        404 => (ErrorKind::NotFound, "the service did not find it"),
        429 => (ErrorKind::Throttled, "there are too many requests"),
        501 => (
            ErrorKind::Rejected,
            "the service does not have this operation",
        ),
        408 | 500..600 => (ErrorKind::Service, "the service failed"),
        400..500 => (ErrorKind::Rejected, "the request was refused"),
        300..400 => (
            ErrorKind::Protocol,
            "the answer is a redirect, which DPS never sends: check the host, and whether a proxy, a firewall or a captive \
             portal answered",
        ),
        _ => (
            ErrorKind::Protocol,
            "the status of the answer is not one of the protocol: check the host and the proxy",
        ),
    };
    let error = Error::new(kind, format!("{what} (status {status})"))
        .with_status(status)
        .with_retry_after(reply.retry_after);
    // Without a code in the body the status decides about the hint.
    let hint = match kind {
        _ if code.is_some() => None,
        ErrorKind::Unauthorized => ErrorCode::UNAUTHORIZED.hint(),
        ErrorKind::NotFound => ErrorCode::NOT_FOUND.hint(),
        _ => None,
    };
    let error = error.with_details(details);
    Err(match hint {
        Some(hint) => error.with_note(hint),
        None => error,
    })
}

/// Reads the answer to a registration or a poll of the device `device`. `known` is the operation that was polled.
///
/// An unknown status with 202 means a wait, since 202 is how the service reports "pending". With another HTTP status it is an
/// error, since the registration would never end.
pub(crate) fn progress(
    reply: &Reply,
    known: Option<&OperationId>,
    device: &RegistrationId,
) -> Result<Progress, Error> {
    let operation: RegistrationOperationStatus = read(reply)?;
    let state = operation.registration_state;
    if let Some(state) = &state {
        check_device(reply, state, device)?;
    }
    match operation.status {
        RegistrationStatus::Assigned => Assignment::new(state)
            .map(|assignment| Progress::Assigned(Box::new(assignment)))
            .map_err(|error| error.with_status(reply.status)),
        RegistrationStatus::Failed => Err(ended(
            ErrorKind::Failed,
            "the registration failed",
            reply,
            state,
        )),
        RegistrationStatus::Disabled => Err(ended(
            ErrorKind::Disabled,
            "the enrollment is disabled",
            reply,
            state,
        )),
        RegistrationStatus::Unknown(word) if reply.status != 202 => Err(Error::protocol(format!(
            "the registration has the unknown status {word:?}"
        ))
        .with_status(reply.status)),
        _ => match operation.operation_id.as_ref().or(known) {
            Some(operation_id) => Ok(Progress::Pending {
                operation_id: operation_id.clone(),
                retry_after: reply.retry_after,
            }),
            None => Err(
                Error::protocol("the registration is in progress but has no operationId")
                    .with_status(reply.status),
            ),
        },
    }
}

/// Reads the answer to a lookup of the device `device`.
pub(crate) fn lookup(
    reply: &Reply,
    device: &RegistrationId,
) -> Result<DeviceRegistrationResult, Error> {
    let record = read(reply)?;
    check_device(reply, &record, device)?;
    Ok(record)
}

/// An answer about another device would connect this device to the wrong hub identity.
fn check_device(
    reply: &Reply,
    state: &DeviceRegistrationResult,
    device: &RegistrationId,
) -> Result<(), Error> {
    match &state.registration_id {
        Some(other) if other != device => Err(Error::protocol(format!(
            "the answer is about the registration id {other:?}, the registration id of the device is {device:?}"
        ))
        .with_status(reply.status)),
        _ => Ok(()),
    }
}

fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Error> {
    json::from_slice(&reply.body).map_err(|error| {
        Error::protocol(
            "the answer is not the JSON document of the protocol: check the host, and whether a proxy, a firewall or a captive \
             portal answered",
        )
        .with_status(reply.status)
        .with_source(error)
    })
}

fn ended(
    kind: ErrorKind,
    what: &'static str,
    reply: &Reply,
    state: Option<DeviceRegistrationResult>,
) -> Error {
    let details = state.and_then(|state| {
        let mut details = ErrorDetails::default();
        details.error_code = state.error_code;
        details.message = state.error_message;
        details.timestamp_utc = state.last_updated_date_time_utc;
        non_empty(details)
    });
    Error::new(kind, what)
        .with_status(reply.status)
        .with_details(details)
}

fn error_details(body: &[u8]) -> Option<ErrorDetails> {
    json::from_slice(body).ok().and_then(non_empty)
}

/// Drops a body with neither error code nor message.
fn non_empty(details: ErrorDetails) -> Option<ErrorDetails> {
    (details.error_code.is_some() || details.message.is_some()).then_some(details)
}
