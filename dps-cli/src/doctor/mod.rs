//! `dps doctor`: finds out why a device cannot register, from the side of the device alone.

mod answer;
mod certificate;
mod chain;
mod clock;
mod confusion;
mod credentials;
mod finding;
mod identity;
mod network;
mod place;
mod registration;
mod sas;
mod tls;
mod tls_stream;

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::device::DeviceOptions;
use crate::failure::{Exit, Result};
use crate::input::InputFile;
use finding::Findings;

/// Checks the ids, the credentials and their files, then name resolution, connections, TLS, the clock and the answers of the
/// service. It needs no access to the service API. It does not register the device unless --register is set.
///
/// Exit codes: 0 no problem was found; 7 a problem was found.
#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    device: DeviceOptions,
    /// Check a SAS token from another program: file with the token; - for stdin
    #[arg(long, value_name = "FILE")]
    sas_token_file: Option<InputFile>,
    /// Register the device: finds what only a registration shows, such as a webhook that fails
    #[arg(long)]
    register: bool,
    /// Check the files and ids only, and do not use the network
    #[arg(long)]
    offline: bool,
}

pub(crate) async fn run(doctor: Doctor, context: &Context) -> Result<ExitCode> {
    let mut findings = Findings::default();
    identity::check(&doctor.device, context, &mut findings);
    let credentials = credentials::check(&doctor.device, &mut findings);
    if let Some(file) = &doctor.sas_token_file {
        sas::check(file, &doctor.device, context, &mut findings)?;
    }
    if !doctor.offline {
        online(&doctor, credentials, context, &mut findings).await?;
    }
    findings.print(context)?;
    Ok(match findings.has_problems() {
        true => ExitCode::from(Exit::Partial as u8),
        false => ExitCode::SUCCESS,
    })
}

/// The checks over the network. Each one needs what the one before it has found to work.
async fn online(
    doctor: &Doctor,
    credentials: bool,
    context: &Context,
    findings: &mut Findings,
) -> Result {
    let place = place::Place::new(&doctor.device, context)?;
    if !network::check(&place, findings).await {
        return Ok(());
    }
    let trusted = tls::check(&place, findings).await;
    if trusted && place.uses_https() {
        answer::check(&place, &doctor.device, context, findings).await?;
    }
    match (trusted, credentials) {
        (true, true) => registration::check(doctor, context, findings).await,
        (true, false) => findings.skipped("registration", "the credentials cannot be used"),
        (false, _) => findings.skipped("registration", "the connection is not trusted"),
    }
    Ok(())
}
