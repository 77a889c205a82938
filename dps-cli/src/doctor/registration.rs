//! The request itself: a lookup with the credentials, which changes nothing, and a registration on demand.

use std::error::Error as _;
use std::time::Duration;

use dps_device::{
    Attestation, Error, ErrorKind, Host, IdScope, ProvisioningClient, RegistrationStatus,
    SymmetricKey, SymmetricKeyAttestation,
};
use dps_types::ErrorCode;

use super::Doctor;
use super::finding::{Findings, chain_of};
use crate::context::Context;
use crate::device::DeviceOptions;

const LIMIT: Duration = Duration::from_secs(30);

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
    let result = match doctor.register {
        true => client
            .register()
            .timeout(LIMIT * 4)
            .await
            .map(|assignment| assignment.registration().clone()),
        false => client.lookup().timeout(LIMIT).await,
    };
    match result {
        Ok(record) => recorded(&record, findings),
        Err(error)
            if error.kind() == ErrorKind::NotFound && !doctor.register && is_new_device(&error) =>
        {
            findings.ok(
                "registration",
                "the credentials are accepted; the device has not registered yet",
            );
        }
        Err(error) => {
            let confused = match error.kind() {
                ErrorKind::Unauthorized => confusion(&doctor.device, context).await,
                _ => None,
            };
            refused(&error, confused, findings);
        }
    }
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

fn recorded(record: &dps_device::DeviceRegistrationResult, findings: &mut Findings) {
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
            findings.ok("registration", format!("the device is assigned to {hub}"));
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
                "registration",
                format!("the last registration failed: {code} {message}"),
                hint,
            );
        }
        RegistrationStatus::Disabled => {
            findings.problem(
                "registration",
                "the enrollment is disabled",
                "enable it: dps enrollment enable, or ask the operator",
            );
        }
        RegistrationStatus::Unassigned => {
            findings.ok(
                "registration",
                "the credentials are accepted; the device has not registered yet",
            );
        }
        other => findings.ok(
            "registration",
            format!(
                "the credentials are accepted; the status is {}",
                other.as_str()
            ),
        ),
    }
}

fn refused(error: &Error, confused: Option<&'static str>, findings: &mut Findings) {
    let finding = chain_of(error);
    let advice: String = match (cause(error).kind(), confused) {
        (_, Some(confused)) => confused.to_owned(),
        (ErrorKind::Unauthorized, None) => {
            "the enrollment does not accept these credentials: compare the id scope, the registration id and its case, and the key; \
             with certificates, the enrollment group must hold a CA certificate of the chain, and the file every intermediate one"
                .into()
        }
        (ErrorKind::NotFound, _) => "the id scope does not exist: copy it from the overview page of the instance".into(),
        (ErrorKind::Throttled, _) => "too many devices register at the same time: wait, and distribute them over time".into(),
        (ErrorKind::Disabled, _) => "the enrollment is disabled: enable it, or ask the operator".into(),
        (ErrorKind::Connect | ErrorKind::Deadline, _) => {
            "the connection was lost, or no answer came: a firewall or a proxy may interrupt it; try --transport mqtt-ws or http".into()
        }
        (ErrorKind::Tls, _) => {
            "the server refuses the certificate of the device, or its own is not trusted: see the findings about TLS and the certificate".into()
        }
        (ErrorKind::Unsupported, _) => "this transport does not support this request: use --transport http".into(),
        (ErrorKind::Protocol, _) => "another server answered: a proxy, a firewall or a portal".into(),
        (ErrorKind::Service, _) => "the service fails: try again later".into(),
        (ErrorKind::Failed | ErrorKind::Rejected, _) => {
            let hint = error.error_details().and_then(dps_types::ErrorDetails::hint);
            hint.unwrap_or("check the enrollment and its allocation policy").into()
        }
        _ => "the message names the cause".into(),
    };
    findings.problem("registration", finding, advice);
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

/// The usual confusions of symmetric keys, each of them tried: a group key in place of a device key, a derived key that is derived
/// again, and a registration id in other letters.
async fn confusion(device: &DeviceOptions, context: &Context) -> Option<&'static str> {
    let (key, is_group) = device.attestation().any_key().ok()??;
    let id = device.registration_id()?.clone();
    let scope = device.id_scope(context).ok()?;
    let host = device.host(context).ok()?;
    let mut attempts = vec![match is_group {
        false => (
            SymmetricKeyAttestation::from_group(id.clone(), &key),
            "this is the key of an enrollment group: pass it with --group-key-file, or derive the key of the device with \
             dps compute-device-key",
        ),
        true => (
            SymmetricKeyAttestation::new(id.clone(), key.clone()),
            "this is the key of the device, not of a group: pass it with --key-file; it must not be derived",
        ),
    }];
    if id.as_str().contains(|c: char| c.is_ascii_uppercase()) {
        let advice =
            "the key belongs to the registration id in lowercase letters: write it in lowercase";
        attempts.push((lowercase(&id, &key, is_group)?, advice));
    }
    for (attestation, advice) in attempts {
        if accepted(attestation, device, &scope, &host, context).await {
            return Some(advice);
        }
    }
    None
}

fn lowercase(
    id: &dps_device::RegistrationId,
    key: &SymmetricKey,
    is_group: bool,
) -> Option<SymmetricKeyAttestation> {
    let lower: dps_device::RegistrationId = id.as_str().to_ascii_lowercase().parse().ok()?;
    Some(match is_group {
        true => SymmetricKeyAttestation::from_group(lower, key),
        false => SymmetricKeyAttestation::new(lower, key.clone()),
    })
}

async fn accepted(
    attestation: impl Attestation + 'static,
    device: &DeviceOptions,
    scope: &IdScope,
    host: &Host,
    context: &Context,
) -> bool {
    let transport = device.transport_options().transport();
    let mut client =
        ProvisioningClient::new(scope.clone(), attestation, transport).with_host(host.clone());
    if let Ok(Some(roots)) = device.network().roots(context) {
        client = client.with_roots(roots);
    }
    if let Ok(Some(proxy)) = device.network().proxy(context) {
        client = client.with_proxy(proxy);
    }
    match client.lookup().timeout(LIMIT).await {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}
