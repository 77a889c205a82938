//! The device API: register, poll, look up.

use ::http::{StatusCode, header};
use dps_types::protocol::device::{DeviceAction, DeviceRoute};
use dps_types::{RegistrationOperationStatus, RegistrationStatus};

use super::body::Call;
use super::reply::Reply;
use super::{Gateway, Peer, api_version};
use crate::attest::Presented;
use crate::fault::{Met, Step};
use crate::provision::Device;
use crate::service_error::ServiceError;

/// The reply; `None` when the connection is to be cut.
pub(super) async fn answer(
    gateway: &Gateway,
    call: Call,
    peer: &Peer,
) -> Result<Option<Reply>, ServiceError> {
    let route = DeviceRoute::parse(&call.method, &call.path)?;
    let api_version = api_version(&call.query)?;
    let device = Device {
        id_scope: &route.id_scope,
        registration_id: &route.registration_id,
        presented: presented(&call, peer)?,
        api_version,
        takes_challenge: true,
    };
    let engine = &gateway.engine;
    let met = match &route.action {
        DeviceAction::Register => {
            call.require_length()?;
            let work = engine.register(device, call.json()?);
            gateway.faults.meet(Step::Register, work).await?
        }
        DeviceAction::OperationStatus(operation) => {
            let work = engine.operation_status(device, operation);
            gateway.faults.meet(Step::Poll, work).await?
        }
        DeviceAction::Lookup => {
            call.require_length()?;
            let result = engine.lookup(device, call.json()?).await?;
            return Ok(Some(Reply::json(StatusCode::OK, &result)));
        }
        _ => return Err(ServiceError::not_implemented("this operation")),
    };
    Ok(match met {
        Met::Done(status) => Some(progress(gateway, &call, &route, &status)),
        Met::Malformed => Some(Reply::malformed()),
        Met::Silence => {
            gateway.faults.stopped().await;
            None
        }
        Met::Cut => None,
    })
}

/// Reads the token from the `Authorization` header, or else the client certificate. A header that is not text is not a token.
fn presented<'a>(call: &Call, peer: &'a Peer) -> Result<Presented<'a>, ServiceError> {
    let header = call.headers.get(header::AUTHORIZATION);
    let token = header.map(|value| value.to_str().unwrap_or("not text"));
    Presented::of(token, peer.chain.as_ref())
}

/// 202 and when to come back while it goes on, 200 when it is over, however it ended.
fn progress(
    gateway: &Gateway,
    call: &Call,
    route: &DeviceRoute,
    status: &RegistrationOperationStatus,
) -> Reply {
    if status.status != RegistrationStatus::Assigning {
        return Reply::json(StatusCode::OK, status);
    }
    let host = call.header(header::HOST.as_str()).unwrap_or("localhost");
    let register = DeviceRoute::new(
        route.id_scope.clone(),
        route.registration_id.clone(),
        DeviceAction::Register,
    );
    Reply::json(StatusCode::ACCEPTED, status)
        .with(
            header::LOCATION.as_str(),
            format!("https://{host}{}", register.path()),
        )
        .with(
            header::RETRY_AFTER.as_str(),
            gateway.retry_after_seconds.to_string(),
        )
}
