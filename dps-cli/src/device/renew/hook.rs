//! The command that runs after a renewal.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{io, path};

use dps_device::certificate::IssuedCertificate;
use dps_types::Timestamp;
use tokio::process::Command;
use tokio::time::timeout;

use crate::device::issued::IssuedFiles;
use crate::failure::{Exit, Failure, Result};

/// The time limit of the command, which is ended after it.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Variables with secrets of this program, which the command does not receive.
const SECRETS: [&str; 12] = [
    "AZURE_CLIENT_SECRET",
    "DPS_ACCESS_TOKEN",
    "DPS_CONNECTION_STRING",
    "DPS_DEVICE_KEY",
    "DPS_FILE_PASSWORD",
    "DPS_GROUP_KEY",
    "DPS_PIN",
    "DPS_PRIMARY_KEY",
    "DPS_PROXY",
    "DPS_SECONDARY_DEVICE_KEY",
    "DPS_SECONDARY_GROUP_KEY",
    "DPS_SECONDARY_KEY",
];

/// Runs the command. Its output is on stderr, because stdout is for the documents of this program.
pub(super) async fn run(
    command: &str,
    files: &IssuedFiles,
    certificate: &IssuedCertificate,
) -> Result {
    let valid_until = Timestamp::from(certificate.valid_until()).to_string();
    let mut process = shell(command);
    for name in SECRETS {
        process.env_remove(name);
    }
    process
        .env("DPS_CERTIFICATE_FILE", absolute(&files.chain))
        .env("DPS_PRIVATE_KEY_FILE", absolute(&files.key))
        .env(
            "DPS_REGISTRATION_ID",
            certificate.registration_id().as_str(),
        )
        .env("DPS_VALID_UNTIL", valid_until)
        .stdin(Stdio::null())
        .stdout(Stdio::from(io::stderr()))
        .kill_on_drop(true);
    let failed = |what: String| {
        Failure::new(
            Exit::Partial,
            format!("the certificate was renewed, but the command of --exec {what}"),
        )
    };
    match timeout(LIMIT, process.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(ended(status))),
        Ok(Err(error)) => Err(failed("could not be started".to_owned()).because(&error)),
        Err(_) => Err(failed(format!("did not end within {} s", LIMIT.as_secs()))),
    }
}

fn shell(command: &str) -> Command {
    let (program, option) = match cfg!(windows) {
        true => ("cmd", "/C"),
        false => ("/bin/sh", "-c"),
    };
    let mut process = Command::new(program);
    process.args([option, command]);
    process
}

fn absolute(path: &Path) -> PathBuf {
    path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with the exit code {code}"),
        None => "was ended by a signal".to_owned(),
    }
}
