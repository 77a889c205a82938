//! `dps certificate proof-of-possession`: a certificate whose common name is the verification code of the instance.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::authority::{AuthorityFiles, KeyType, device_params, failed};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::files;

/// The certificate that the CA signs proves that its owner has the private key. Its own key is thrown away.
#[derive(Args)]
pub(crate) struct ProofOfPossession {
    /// Verification code that the instance shows for the CA certificate
    code: String,
    #[command(flatten)]
    authority: AuthorityFiles,
    /// File for the certificate to upload; - for stdout
    #[arg(long, value_name = "FILE", default_value = "verification.pem")]
    certificate: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(proof: &ProofOfPossession, context: &Context) -> Result {
    let code = proof.code.trim();
    if code.is_empty() || !code.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Failure::usage(
            "the verification code is not valid: it consists of letters and digits",
        ));
    }
    let authority = proof.authority.load()?;
    let key = KeyType::P256.generate()?;
    let signed = device_params(code, 30)
        .signed_by(&key, &authority.issuer)
        .map_err(|error| failed(&error))?;
    files::write_public(&proof.certificate, signed.pem(), proof.overwrite)?;
    match proof.certificate.as_os_str() == "-" {
        true => Ok(()),
        false => context
            .output
            .item(json!({"certificate": proof.certificate})),
    }
}
