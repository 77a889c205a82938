//! What a reply means: the status first, then the body.

use std::time::Duration;

use dps_types::{
    DeviceRegistrationResult, ErrorCode, ErrorDetails, OperationId, RegistrationOperationStatus,
    RegistrationStatus,
};
use serde::de::DeserializeOwned;

use crate::assignment::Assignment;
use crate::error::{Error, ErrorKind};
use crate::transport::Reply;

/// How far a registration is, when it has not failed.
#[derive(Debug)]
pub(crate) enum Progress {
    Assigned(Box<Assignment>),
    Pending {
        operation_id: OperationId,
        retry_after: Option<Duration>,
    },
}

/// Lets a success through, and makes an error of all else. The status decides, whatever the body is.
pub(crate) fn accept(reply: Reply) -> Result<Reply, Error> {
    let status = reply.status;
    if (200..300).contains(&status) {
        return Ok(reply);
    }
    let details = error_details(&reply.body);
    let conflict = details.as_ref().and_then(|details| details.error_code)
        == Some(ErrorCode::REGISTRATION_CONFLICT);
    let (kind, what) = match status {
        _ if conflict => (ErrorKind::Service, "another registration was in the way"),
        401 | 403 => (ErrorKind::Unauthorized, "the credentials were refused"),
        404 => (ErrorKind::NotFound, "the service has no such thing"),
        429 => (ErrorKind::Throttled, "there are too many requests"),
        501 => (
            ErrorKind::Rejected,
            "the service does not have this operation",
        ),
        408 | 500..600 => (ErrorKind::Service, "the service failed"),
        400..500 => (ErrorKind::Rejected, "the request was refused"),
        300..400 => (
            ErrorKind::Protocol,
            "a redirect was answered, and none is followed",
        ),
        _ => (
            ErrorKind::Protocol,
            "the answer's status is not one of the protocol",
        ),
    };
    Err(Error::new(kind, format!("{what} (status {status})"))
        .with_status(status)
        .with_retry_after(reply.retry_after)
        .with_details(details))
}

/// Reads the answer to a registration or a poll. `known` is the operation that was asked about.
///
/// A status that nobody knows yet means a wait when it comes with 202, since that is how the service says "pending",
/// and is an error otherwise: it would never change.
pub(crate) fn progress(reply: &Reply, known: Option<&OperationId>) -> Result<Progress, Error> {
    let operation: RegistrationOperationStatus = read(reply)?;
    let state = operation.registration_state;
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
                Error::protocol("the registration is in progress without an operationId")
                    .with_status(reply.status),
            ),
        },
    }
}

/// Reads the answer to a lookup.
pub(crate) fn lookup(reply: &Reply) -> Result<DeviceRegistrationResult, Error> {
    read(reply)
}

fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Error> {
    serde_json::from_slice(&reply.body).map_err(|error| {
        Error::protocol("the answer is not the JSON document that it should be")
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
        told(details)
    });
    Error::new(kind, what)
        .with_status(reply.status)
        .with_details(details)
}

fn error_details(body: &[u8]) -> Option<ErrorDetails> {
    serde_json::from_slice(body).ok().and_then(told)
}

/// A problem without a code and without a message says nothing.
fn told(details: ErrorDetails) -> Option<ErrorDetails> {
    (details.error_code.is_some() || details.message.is_some()).then_some(details)
}
