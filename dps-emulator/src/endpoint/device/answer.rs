//! Answers a device's request, for every transport.
//!
//! A transport reads a [`DeviceCall`] and writes an [`Outcome`]. Status, `Retry-After`, faults, limits, error bodies and
//! what is logged are decided here.

use dps_types::protocol::ApiVersion;
use dps_types::protocol::device::{DeviceAction, DeviceRoute};
use dps_types::{RegistrationOperationStatus, RegistrationStatus};

use super::super::answer::Answer;
use super::super::call::document;
use super::super::{Caller, Gateway};
use crate::attest::Presented;
use crate::fault::{FaultOutcome, Step};
use crate::provision::Device;
use crate::service_error::ServiceError;

/// A request of a device.
pub(in crate::endpoint) struct DeviceCall<'a> {
    pub(in crate::endpoint) route: &'a DeviceRoute,
    pub(in crate::endpoint) api_version: ApiVersion,
    pub(in crate::endpoint) presented: Presented<'a>,
    pub(in crate::endpoint) body: &'a [u8],
    /// Whether the transport can carry a challenge to a TPM: HTTPS can, MQTT cannot.
    pub(in crate::endpoint) takes_challenge: bool,
}

/// What the transport does with a request.
pub(in crate::endpoint) enum Outcome {
    /// Sends this answer.
    Reply(Answer),
    /// Sends nothing and leaves the connection open.
    Silence,
    /// Closes the connection without an answer.
    Cut,
}

impl<'a> DeviceCall<'a> {
    fn device(&self, caller: Caller<'_>) -> Device<'_> {
        Device {
            id_scope: &self.route.id_scope,
            registration_id: &self.route.registration_id,
            presented: self.presented.clone(),
            api_version: self.api_version,
            takes_challenge: self.takes_challenge,
            source: caller.peer.address.ip(),
        }
    }
}

/// Answers a request.
pub(in crate::endpoint) async fn answer(
    gateway: &Gateway,
    call: &DeviceCall<'_>,
    caller: Caller<'_>,
) -> Outcome {
    match perform(gateway, call, caller).await {
        Ok(FaultOutcome::Done(answer)) => Outcome::Reply(answer),
        Ok(FaultOutcome::Malformed) => Outcome::Reply(Answer::malformed()),
        Ok(FaultOutcome::Silence) => Outcome::Silence,
        Ok(FaultOutcome::Cut) => Outcome::Cut,
        Err(error) => {
            let device = call.route.registration_id.as_str();
            refused(gateway, caller, Some(device), &error)
        }
    }
}

/// The answer to a request that is refused, before or after it could be read as a [`DeviceCall`].
pub(in crate::endpoint) fn refused(
    gateway: &Gateway,
    caller: Caller<'_>,
    device: Option<&str>,
    error: &ServiceError,
) -> Outcome {
    gateway.refusals.log(caller, device, error);
    let retry_after = gateway.instance.settings.retry_after_seconds;
    Outcome::Reply(Answer::error(error, retry_after))
}

async fn perform(
    gateway: &Gateway,
    call: &DeviceCall<'_>,
    caller: Caller<'_>,
) -> Result<FaultOutcome<Answer>, ServiceError> {
    let (engine, faults) = (&gateway.engine, &gateway.faults);
    let limit = gateway.instance.message_limit();
    if call.body.len() > limit {
        return Err(ServiceError::too_large(limit));
    }
    let device = call.device(caller);
    match &call.route.action {
        DeviceAction::Register => {
            let work = async {
                let status = engine.register(device, document(call.body)?).await?;
                Ok(progress(gateway, &status))
            };
            faults.apply(Step::Register, work).await
        }
        DeviceAction::OperationStatus(operation) => {
            let work = async {
                let status = engine.operation_status(device, operation).await?;
                Ok(progress(gateway, &status))
            };
            faults.apply(Step::Poll, work).await
        }
        DeviceAction::Lookup => {
            let result = engine.lookup(device, document(call.body)?).await?;
            Ok(FaultOutcome::Done(Answer::json(200, &result)))
        }
        _ => Err(ServiceError::not_implemented("this operation")),
    }
}

/// 202 with `Retry-After` while the registration is in progress, 200 when it has ended, whether or not it succeeded.
fn progress(gateway: &Gateway, status: &RegistrationOperationStatus) -> Answer {
    if status.status != RegistrationStatus::Assigning {
        return Answer::json(200, status);
    }
    Answer::json(202, status).with_retry_after(gateway.instance.settings.retry_after_seconds)
}
