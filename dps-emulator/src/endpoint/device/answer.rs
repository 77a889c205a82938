//! Answers a device's request, for every transport.
//!
//! A transport reads a [`DeviceCall`] and writes an [`Outcome`]. Status, `Retry-After`, faults, limits, error bodies and
//! what is logged are decided here.

use dps_types::protocol::ApiVersion;
use dps_types::protocol::device::{DeviceAction, DeviceRoute};
use dps_types::{ErrorCode, RegistrationOperationStatus, RegistrationStatus};
use tokio::time::Instant;

use super::super::answer::{Answer, Delivery};
use super::super::call::document;
use super::super::{Caller, Gateway};
use crate::attest::Presented;
use crate::fault::{Effect, FaultOutcome, Step};
use crate::journal::{Actor, Exchange};
use crate::provision::Device;
#[cfg(feature = "control")]
use crate::recording::{Attestation, RecordedExchange};
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

/// The action of the transport on a request.
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
    let started = Instant::now();
    let performed = Box::pin(perform(gateway, call, caller)).await;
    if let Some(journal) = &gateway.shared.journal {
        journal.add(exchange(call, caller, &performed).took(started.elapsed()));
    }
    match performed {
        Ok(FaultOutcome::Done(answer)) => {
            record(gateway, call, caller, &answer);
            Outcome::Reply(answer)
        }
        Ok(FaultOutcome::Malformed) => Outcome::Reply(Answer::malformed()),
        Ok(FaultOutcome::Silence) => Outcome::Silence,
        Ok(FaultOutcome::Cut) => Outcome::Cut,
        Err(error) => {
            let device = call.route.registration_id.as_str();
            gateway.shared.refusals.log(caller, Some(device), &error);
            let answer = error_answer(gateway, &error);
            record(gateway, call, caller, &answer);
            Outcome::Reply(answer)
        }
    }
}

/// Adds the request and its answer to the recording, if the control endpoint has started one.
#[cfg_attr(not(feature = "control"), expect(unused_variables))]
fn record(gateway: &Gateway, call: &DeviceCall<'_>, caller: Caller<'_>, answer: &Answer) {
    #[cfg(feature = "control")]
    gateway.shared.recorder.add(|| {
        let version = (ApiVersion::PARAMETER, call.api_version);
        let path = format!("{}?{}={}", call.route.path(), version.0, version.1);
        let now = gateway.instance.now().into();
        let method = call.route.method();
        let mut exchange = RecordedExchange::new(now, caller.transport.name(), method, &path)
            .asked(call.body)
            .answered(answer.status, &answer.body);
        exchange.attestation = Some(match &call.presented {
            Presented::Nothing => Attestation::None,
            Presented::Token(_) => Attestation::Token,
            Presented::Chain(chain) => Attestation::X509 {
                certificates: chain.der_base64(),
            },
        });
        exchange
    });
}

/// The answer to a request that is refused before it could be read as a [`DeviceCall`].
pub(in crate::endpoint) fn refused(
    gateway: &Gateway,
    caller: Caller<'_>,
    device: Option<&str>,
    error: &ServiceError,
) -> Outcome {
    gateway.refused(caller, device, error);
    Outcome::Reply(error_answer(gateway, error))
}

fn error_answer(gateway: &Gateway, error: &ServiceError) -> Answer {
    Answer::error(error, gateway.instance.settings.retry_after_seconds)
}

/// The request and its outcome, for the journal.
fn exchange(
    call: &DeviceCall<'_>,
    caller: Caller<'_>,
    performed: &Result<FaultOutcome<Answer>, ServiceError>,
) -> Exchange {
    let name = match &call.route.action {
        DeviceAction::Register => "register",
        DeviceAction::OperationStatus(_) => "status",
        _ => "lookup",
    };
    let device = Some(call.route.registration_id.as_str());
    let mut exchange =
        Exchange::new(Actor::Device, caller.transport.name(), name).by(caller.peer.address, device);
    exchange.api_version = Some(call.api_version.to_string());
    match performed {
        Ok(FaultOutcome::Done(answer)) => exchange.answered(answer.status, call.body, &answer.body),
        Ok(FaultOutcome::Malformed) => exchange
            .answered(200, call.body, b"")
            .ended("fault", Some("a fault: a body that is not JSON")),
        Ok(FaultOutcome::Silence) => exchange.ended("fault", Some("a fault: no answer")),
        Ok(FaultOutcome::Cut) => exchange.ended("fault", Some("a fault: the connection is closed")),
        Err(error) => exchange
            .answered(error.status(), call.body, b"")
            .refused(error),
    }
}

async fn perform(
    gateway: &Gateway,
    call: &DeviceCall<'_>,
    caller: Caller<'_>,
) -> Result<FaultOutcome<Answer>, ServiceError> {
    let engine = &gateway.engine;
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
            Box::pin(with_faults(gateway, call, Step::Register, work)).await
        }
        DeviceAction::OperationStatus(operation) => {
            let work = async {
                let status = engine.operation_status(device, operation).await?;
                Ok(progress(gateway, &status))
            };
            with_faults(gateway, call, Step::Poll, work).await
        }
        DeviceAction::Lookup => {
            let result = engine.lookup(device, document(call.body)?).await?;
            Ok(FaultOutcome::Done(Answer::json(200, &result)))
        }
        _ => Err(ServiceError::not_implemented("this operation")),
    }
}

/// Carries a request out, unless a fault prevents it or changes the answer.
async fn with_faults(
    gateway: &Gateway,
    call: &DeviceCall<'_>,
    step: Step,
    work: impl Future<Output = Result<Answer, ServiceError>>,
) -> Result<FaultOutcome<Answer>, ServiceError> {
    let DeviceRoute {
        registration_id,
        action,
        ..
    } = call.route;
    let effect = gateway
        .faults
        .take(step, Some(registration_id.as_str()))
        .await;
    let operation = match action {
        DeviceAction::OperationStatus(operation) => Some(operation),
        _ => None,
    };
    let ended = |error| {
        let status = gateway
            .engine
            .ended_by_fault(registration_id, operation, error);
        Ok(FaultOutcome::Done(Answer::json(200, &status)))
    };
    let delivery = match effect {
        Some(Effect::Failed(code)) => return ended(Some(ErrorCode::new(code))),
        Some(Effect::Disabled) => return ended(None),
        Some(Effect::AnswerTwice) => Delivery::Twice,
        Some(Effect::WrongRequestId) => Delivery::ToAnotherRequest,
        _ => Delivery::Once,
    };
    let outcome = gateway.faults.carry_out(effect, work).await?;
    Ok(match outcome {
        FaultOutcome::Done(answer) => FaultOutcome::Done(Answer { delivery, ..answer }),
        other => other,
    })
}

/// 202 with `Retry-After` while the registration is in progress, 200 when it has ended, whether or not it succeeded.
fn progress(gateway: &Gateway, status: &RegistrationOperationStatus) -> Answer {
    if status.status != RegistrationStatus::Assigning {
        return Answer::json(200, status);
    }
    Answer::json(202, status).with_retry_after(gateway.instance.settings.retry_after_seconds)
}
