//! The command that runs after a renewal.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use dps_types::Timestamp;
use tokio::time::sleep;

use super::processes::Processes;
use crate::device::issued::{Held, IssuedPlace};
use crate::failure::{Exit, Failure, Result};

/// The time limit of the command, which is ended after it.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Variables with secrets of this program, which the command does not receive.
const SECRETS: [&str; 15] = [
    "AZURE_CLIENT_SECRET",
    "DPS_ACCESS_TOKEN",
    "DPS_CONNECTION_STRING",
    "DPS_DEVICE_KEY",
    "DPS_FILE_PASSWORD",
    "DPS_GROUP_KEY",
    "DPS_NEW_KEY_AUTH",
    "DPS_PIN",
    "DPS_PRIMARY_KEY",
    "DPS_PROXY",
    "DPS_SECONDARY_DEVICE_KEY",
    "DPS_SECONDARY_GROUP_KEY",
    "DPS_SECONDARY_KEY",
    "DPS_TPM_KEY_AUTH",
    "DPS_TPM_OWNER_AUTH",
];

/// Variables that describe the place of the certificate. The command does not inherit those of another certificate.
const PLACE: [&str; 3] = [
    "DPS_CERTIFICATE_FILE",
    "DPS_PRIVATE_KEY_FILE",
    "DPS_PRIVATE_KEY",
];

/// Runs the command. Its output is on stderr, because stdout is for the documents of this program. The command ends with its
/// processes if the future is dropped.
pub(super) async fn run(command: &str, place: &IssuedPlace, renewed: &Held) -> Result {
    let certificate = &renewed.certificate;
    let valid_until = Timestamp::from(certificate.valid_until()).to_string();
    let mut process = Processes::shell(command);
    for name in SECRETS.into_iter().chain(PLACE) {
        process.env_remove(name);
    }
    process
        .envs(place.variables(renewed))
        .env(
            "DPS_REGISTRATION_ID",
            certificate.registration_id().as_str(),
        )
        .env("DPS_VALID_UNTIL", valid_until)
        .stdin(Stdio::null())
        .stdout(Stdio::from(io::stderr()));
    let failed = |what: String| {
        Failure::new(
            Exit::Partial,
            format!("the certificate was renewed, but the command of --exec {what}"),
        )
    };
    match Processes::run(process, sleep(LIMIT)).await {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(failed(ended(status))),
        Ok(None) => Err(failed(format!("did not end within {} s", LIMIT.as_secs()))),
        Err(error) => Err(failed("could not be started".to_owned()).because(&error)),
    }
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with the exit code {code}"),
        None => "was ended by a signal".to_owned(),
    }
}
