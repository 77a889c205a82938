//! `dps certificate create-ca`: a root CA.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::authority::{KeyType, ca_params, failed};
use crate::context::Context;
use crate::failure::Result;
use crate::files;

#[derive(Args)]
pub(crate) struct CreateCa {
    /// Common name of the CA
    name: String,
    /// File for the certificate
    #[arg(long, value_name = "FILE", default_value = "ca.pem")]
    certificate: PathBuf,
    /// File for the private key
    #[arg(long, value_name = "FILE", default_value = "ca.key")]
    private_key: PathBuf,
    /// Validity in days
    #[arg(long, value_name = "DAYS", default_value_t = 7300, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Kind of the key
    #[arg(long, value_enum, default_value = "p256", value_name = "KIND")]
    key_type: KeyType,
    /// Replace existing files
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(create: &CreateCa, context: &Context) -> Result {
    let key = create.key_type.generate()?;
    let certificate = ca_params(&create.name, create.days)
        .self_signed(&key)
        .map_err(|error| failed(&error))?;
    files::write_key(&create.private_key, &key.pem(), create.overwrite)?;
    files::write_public(&create.certificate, certificate.pem(), create.overwrite)?;
    context
        .output
        .item(json!({"certificate": create.certificate, "keyFile": create.private_key}))
}
