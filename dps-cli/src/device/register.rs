//! `dps register`: registers a device, shows what happens meanwhile, and prints the assignment. It can request a certificate.

use clap::Args;
use dps_device::certificate::IssuedCertificate;
use dps_device::{Assignment, Event, RegistrationEvents};
use serde_json::Value;

use super::issued::RequestOptions;
use super::{DeviceOptions, stop};
use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::input::{self, TextOrFile};
use crate::tools::progress;

#[derive(Args)]
pub(crate) struct Register {
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    payload: PayloadOption,
    #[command(flatten)]
    issued: RequestOptions,
}

/// The data that a device sends to the allocation policy.
#[derive(Args)]
pub(crate) struct PayloadOption {
    /// Payload for a custom allocation webhook: JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    payload: Option<TextOrFile>,
}

impl PayloadOption {
    pub(crate) fn value(&self) -> Result<Option<Value>> {
        let Some(text) = &self.payload else {
            return Ok(None);
        };
        let text = input::value_or_file(text)?;
        let value = dps_types::json::from_str(&text)
            .map_err(|error| Failure::from(error).about("--payload"))?;
        Ok(Some(value))
    }
}

pub(crate) async fn run(register: Register, context: &Context) -> Result {
    let Register {
        device,
        payload,
        issued,
    } = register;
    // It is read before a key is generated.
    let payload = payload.value()?;
    let client = device.client(context).await?;
    let id = client.registration_id();
    let requested = issued.request(id, device.attestation()).await?;
    let mut registration = client.register().timeout(device.timeout());
    if let Some(payload) = payload {
        registration = registration.payload(payload);
    }
    let Some(requested) = requested else {
        let (assignment, _) = follow(registration.events(), context).await?;
        return context.output.item(assignment.registration());
    };
    let registration = registration.certificate(requested.request.clone());
    let (assignment, certificate) = match follow_issued(registration.events(), context).await {
        Ok(issued) => issued,
        Err(failure) => {
            if let Err(left) = requested.discard().await {
                left.about("the new key is not used, and cannot be removed")
                    .print(context.output.format());
            }
            return Err(failure);
        }
    };
    let mut document = serde_json::to_value(assignment.registration())?;
    if let Some(members) = document.as_object_mut() {
        members.remove("issuedCertificateChain");
        members.insert(
            "certificate".to_owned(),
            requested.store(&certificate).await?,
        );
    }
    context.output.item(document)?;
    tokio::select! {
        result = requested.remove_earlier(certificate) => result,
        stopped = stop::requested() => {
            stopped?;
            let what = "the certificate was stored, but dps was stopped before the earlier key was removed";
            Err(Failure::new(Exit::Partial, what))
        }
    }
}

/// Follows a registration with a certificate request.
pub(super) async fn follow_issued(
    events: RegistrationEvents,
    context: &Context,
) -> Result<(Assignment, IssuedCertificate)> {
    match follow(events, context).await? {
        (assignment, Some(certificate)) => Ok((assignment, certificate)),
        (_, None) => Err(Failure::new(
            Exit::Failure,
            "the service issued no certificate",
        )),
    }
}

/// Follows a registration, with its state on a terminal.
async fn follow(
    mut events: RegistrationEvents,
    context: &Context,
) -> Result<(Assignment, Option<IssuedCertificate>)> {
    let spinner = progress::spinner(context);
    let mut certificate = None;
    while let Some(event) = events.next().await {
        match event {
            Event::Assigned(assignment) => {
                spinner.finish_and_clear();
                return Ok((*assignment, certificate));
            }
            Event::Failed(error) => {
                spinner.finish_and_clear();
                return Err(error.into());
            }
            Event::CertificateIssued(issued) => certificate = Some(*issued),
            Event::Connecting => spinner.set_message("connecting"),
            Event::Registering => spinner.set_message("registering"),
            Event::Assigning { .. } => spinner.set_message("the service is assigning the device"),
            Event::FallingBack { error, .. } => {
                spinner.println(format!("{error}; using the secondary credentials"));
            }
            Event::Retrying { error, wait, .. } => {
                spinner.set_message(format!("{error}; again in {:.0} s", wait.as_secs_f64()));
            }
            _ => {}
        }
    }
    Err(Failure::new(
        Exit::Failure,
        "the registration ended without a result",
    ))
}
