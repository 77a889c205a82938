//! `dps certificate needs-renewal`: an exit code for scripts and timers.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use dps_types::Timestamp;
use serde_json::json;

use super::parsed::Parsed;
use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::input::{self, InputFile};

/// Exit code 0 if the certificate needs to be renewed, 8 if it does not, and 2 if the file cannot be read.
#[derive(Args)]
pub(crate) struct NeedsRenewal {
    /// File with the certificate of the device
    certificate: InputFile,
    /// Part of its validity after which it is renewed, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u8).range(1..=100))]
    after: u8,
}

pub(super) fn run(command: &NeedsRenewal, context: &Context) -> Result<ExitCode> {
    let bytes = input::read(&command.certificate)?;
    let certificates = dps_tls::read_certificates(&bytes).map_err(|error| {
        Failure::usage(format!(
            "{} is not a certificate",
            command.certificate.display()
        ))
        .because(&error)
    })?;
    let first = certificates
        .first()
        .ok_or_else(|| Failure::usage("the file contains no certificate"))?;
    let certificate = Parsed::from_der(first).map_err(Failure::usage)?;
    let due = due(certificate.not_before, certificate.not_after, command.after);
    let is_due = SystemTime::now() >= due;
    context.output.item(json!({
        "needsRenewal": is_due, "due": Timestamp::from(due), "notAfter": Timestamp::from(certificate.not_after),
    }))?;
    Ok(match is_due {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Exit::NotDue as u8),
    })
}

/// The moment at which this part of the validity is over.
fn due(not_before: SystemTime, not_after: SystemTime, percent: u8) -> SystemTime {
    let lifetime = not_after
        .duration_since(not_before)
        .unwrap_or(Duration::ZERO);
    not_before + lifetime.mul_f64(f64::from(percent) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_after_its_part() {
        let start = SystemTime::UNIX_EPOCH;
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(due(start, start + day * 100, 80), start + day * 80);
        assert_eq!(due(start + day, start, 80), start + day);
    }
}
