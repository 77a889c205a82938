//! `dps certificate issue`: a certificate for a device or an intermediate CA, for a new key or for a request.

use std::path::PathBuf;

use clap::Args;
use dps_types::RegistrationId;
use rcgen::{CertificateSigningRequestParams, PublicKeyData};
use serde_json::json;

use super::authority::{AuthorityFiles, KeyType, ca_params, device_params, failed};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::files;
use crate::input::{self, InputFile};

/// The file of the certificate contains the whole chain that a device presents: its certificate and the intermediate ones.
#[derive(Args)]
pub(crate) struct Issue {
    /// Registration id of the device, or the common name of the intermediate CA
    name: String,
    #[command(flatten)]
    authority: AuthorityFiles,
    /// Issue the certificate of an intermediate CA
    #[arg(long)]
    intermediate: bool,
    /// Certificate signing request (PKCS#10, PEM). Only its key is used
    #[arg(long, value_name = "FILE", conflicts_with_all = ["private_key", "key_type"])]
    request: Option<InputFile>,
    /// File for the certificate chain; NAME.pem by default
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// File for the private key; NAME.key by default
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// Validity in days
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Kind of the key
    #[arg(long, value_enum, default_value = "p256", value_name = "KIND")]
    key_type: KeyType,
    /// Replace existing files
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(issue: &Issue, context: &Context) -> Result {
    if !issue.intermediate {
        let _: RegistrationId = issue.name.parse()?;
    }
    let authority = issue.authority.load()?;
    let params = match issue.intermediate {
        true => ca_params(&issue.name, issue.days),
        false => device_params(&issue.name, issue.days),
    };
    let default = |extension: &str| {
        PathBuf::from(format!(
            "{}.{extension}",
            issue.name.replace(['/', '\\'], "_")
        ))
    };
    let certificate_file = issue.certificate.clone().unwrap_or_else(|| default("pem"));
    let (certificate, key_file) = match &issue.request {
        Some(file) => {
            let request = CertificateSigningRequestParams::from_pem(&input::read_text(file)?)
                .map_err(|error| {
                    Failure::usage(format!(
                        "{} is not a valid certificate signing request",
                        file.display()
                    ))
                    .because(&error)
                })?;
            (sign(params, &request.public_key, &authority)?, None)
        }
        None => {
            let key = issue.key_type.generate()?;
            let certificate = sign(params, &key, &authority)?;
            let file = issue.private_key.clone().unwrap_or_else(|| default("key"));
            files::write_key(&file, &key.pem(), issue.overwrite)?;
            (certificate, Some(file))
        }
    };
    let intermediates = files::chain_pem(&authority.intermediates);
    files::write_public(
        &certificate_file,
        &(certificate + &intermediates),
        issue.overwrite,
    )?;
    context
        .output
        .item(json!({"certificate": certificate_file, "keyFile": key_file}))
}

fn sign(
    params: rcgen::CertificateParams,
    key: &impl PublicKeyData,
    authority: &super::authority::Authority,
) -> Result<String> {
    let signed = params
        .signed_by(key, &authority.issuer)
        .map_err(|error| failed(&error))?;
    Ok(signed.pem())
}
