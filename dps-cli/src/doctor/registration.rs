//! The request itself: a lookup with the credentials, which changes nothing, and a registration on demand.

use std::error::Error as _;

use dps_device::{
    DeviceRegistrationResult, Error, ErrorKind, Event, ProvisioningClient, RegistrationStatus,
};
use dps_types::ErrorCode;

use super::Doctor;
use super::confusion;
use super::finding::{Findings, chain_of};
use super::place::LOOKUP;
use crate::context::Context;

const CHECK: &str = "registration";

const STAYS_ASSIGNING: &str = "DPS has accepted the credentials and does not finish the assignment: its allocation webhook may not answer, or the \
    linked hub may be throttled or not available; look at the log of the webhook, and register again later";

pub(super) async fn check(doctor: &Doctor, context: &Context, findings: &mut Findings) {
    let client = match doctor.device.client(context).await {
        Ok(client) => client,
        Err(failure) => {
            return findings.problem(
                "credentials",
                failure.to_string(),
                "correct the options of the credentials",
            );
        }
    };
    if doctor.register {
        return register(&client, doctor, context, findings).await;
    }
    let limit = doctor.device.timeout().min(LOOKUP);
    match client.lookup().timeout(limit).await {
        Ok(record) => recorded(&record, findings),
        Err(error) if error.kind() == ErrorKind::NotFound && is_new_device(&error) => findings.ok(
            CHECK,
            "the credentials are accepted; the device has not registered yet",
        ),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            match doctor.device.transport_options().is_mqtt() {
                true => findings.ok(
                    CHECK,
                    "the credentials are accepted; the record of the device can be read with --transport http",
                ),
                false => findings.skipped(
                    CHECK,
                    "AMQP cannot read the record of the device: register with --register, or use --transport http",
                ),
            }
        }
        Err(error) => refused(&error, doctor, context, findings).await,
    }
}

/// Registers the device. A registration that DPS has accepted and does not finish has its own finding.
async fn register(
    client: &ProvisioningClient,
    doctor: &Doctor,
    context: &Context,
    findings: &mut Findings,
) {
    let mut events = client.register().timeout(doctor.device.timeout()).events();
    let mut assigning = false;
    while let Some(event) = events.next().await {
        match event {
            Event::Assigned(assignment) => recorded(assignment.registration(), findings),
            Event::Failed(error)
                if error.kind() == ErrorKind::Deadline
                    && (assigning || asks_for_a_longer_wait(&error)) =>
            {
                let finding = format!("the registration stays in the status assigning: {error}");
                findings.problem(CHECK, finding, STAYS_ASSIGNING);
            }
            Event::Failed(error) => refused(&error, doctor, context, findings).await,
            other => assigning = matches!(other, Event::Assigning { .. }),
        }
    }
}

/// The last answer was a success with a wait that is longer than the time limit.
fn asks_for_a_longer_wait(error: &Error) -> bool {
    error.last_failure().is_none() && error.retry_after().is_some()
}

/// A record that does not exist is 404202 or 404201; an id scope that does not exist has neither.
fn is_new_device(error: &Error) -> bool {
    let code = error.error_details().and_then(|details| details.error_code);
    matches!(
        code,
        Some(
            ErrorCode::REGISTRATION_NOT_FOUND
                | ErrorCode::ENROLLMENT_NOT_FOUND
                | ErrorCode::NOT_FOUND
        )
    )
}

fn recorded(record: &DeviceRegistrationResult, findings: &mut Findings) {
    let status = record
        .status
        .clone()
        .unwrap_or(RegistrationStatus::Unassigned);
    match status {
        RegistrationStatus::Assigned => {
            let hub = record
                .assigned_hub
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            findings.ok(CHECK, format!("the device is assigned to {hub}"));
        }
        RegistrationStatus::Failed => {
            let code = record
                .error_code
                .map_or_else(String::new, |code| code.to_string());
            let message = record.error_message.clone().unwrap_or_default();
            let hint = record
                .error_code
                .and_then(ErrorCode::hint)
                .unwrap_or("the enrollment or its allocation policy is not right");
            findings.problem(
                CHECK,
                format!("the last registration failed: {code} {message}"),
                hint,
            );
        }
        RegistrationStatus::Disabled => {
            findings.problem(
                CHECK,
                "the enrollment is disabled",
                "enable it: dps enrollment enable, or ask the operator",
            );
        }
        RegistrationStatus::Unassigned => {
            findings.ok(
                CHECK,
                "the credentials are accepted; the device has not registered yet",
            );
        }
        RegistrationStatus::Assigning => findings.warning(
            CHECK,
            "the credentials are accepted; the last registration is in the status assigning",
            STAYS_ASSIGNING,
        ),
        other => findings.ok(
            CHECK,
            format!(
                "the credentials are accepted; the status is {}",
                other.as_str()
            ),
        ),
    }
}

async fn refused(error: &Error, doctor: &Doctor, context: &Context, findings: &mut Findings) {
    let confused = match error.kind() {
        ErrorKind::Unauthorized => confusion::find(&doctor.device, context).await,
        _ => None,
    };
    let advice = confused.unwrap_or_else(|| advice(error));
    findings.problem(CHECK, chain_of(error), advice);
}

fn advice(error: &Error) -> &'static str {
    let details = error.error_details();
    if details.and_then(|details| details.error_code) == Some(ErrorCode::REGISTRATION_CONFLICT) {
        return "another program, or another device with the same registration id, registers at the same time: run one of them, and give \
                each device its own id";
    }
    match cause(error).kind() {
        ErrorKind::Unauthorized => {
            "the enrollment does not accept these credentials: compare the id scope, the registration id and its case, and the key; \
             with certificates, the enrollment group must hold a CA certificate of the chain, and the file every intermediate one"
        }
        ErrorKind::NotFound => {
            "the id scope does not exist: copy it from the overview page of the instance"
        }
        ErrorKind::Throttled => {
            "too many devices register at the same time: wait, and distribute them over time"
        }
        ErrorKind::Disabled => "the enrollment is disabled: enable it, or ask the operator",
        ErrorKind::Connect | ErrorKind::Deadline => {
            "the connection was lost, or no answer came: a firewall or a proxy may interrupt it; try --transport mqtt-ws or http"
        }
        ErrorKind::Tls => {
            "the server refuses the certificate of the device, or its own is not trusted: see the findings about TLS and the certificate"
        }
        ErrorKind::Unsupported => {
            "this transport does not support this request: use --transport http"
        }
        ErrorKind::Protocol => "another server answered: a proxy, a firewall or a portal",
        ErrorKind::Service => "the service fails: try again later",
        ErrorKind::Failed | ErrorKind::Rejected => details
            .and_then(dps_types::ErrorDetails::hint)
            .unwrap_or("check the enrollment and its allocation policy"),
        _ => "the message names the cause",
    }
}

/// The last answer of the service, if the time was over while the device waited to try again.
fn cause(error: &Error) -> &Error {
    if error.kind() != ErrorKind::Deadline {
        return error;
    }
    let sources = std::iter::successors(error.source(), |&source| source.source());
    sources
        .filter_map(|source| source.downcast_ref::<Error>())
        .find(|source| source.kind() != ErrorKind::Deadline)
        .unwrap_or(error)
}
