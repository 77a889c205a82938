//! `dps certificate csr`: a key and a certificate signing request.

use std::path::PathBuf;

use clap::Args;
use dps_types::RegistrationId;
use rcgen::{CertificateParams, DistinguishedName, DnType};
use serde_json::json;

use super::authority::{self, KeyType, failed};
use crate::context::Context;
use crate::failure::Result;
use crate::files;

#[derive(Args)]
pub(crate) struct Csr {
    /// Registration id of the device
    registration_id: RegistrationId,
    /// File for the request; ID.csr by default
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// File with the private key; it is created if it does not exist. ID.key by default
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// Kind of a new key
    #[arg(long, value_enum, default_value = "p256", value_name = "KIND")]
    key_type: KeyType,
    /// Replace an existing request
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(csr: &Csr, context: &Context) -> Result {
    let id = csr.registration_id.as_str();
    let default = |extension: &str| PathBuf::from(format!("{id}.{extension}"));
    let key_file = csr.private_key.clone().unwrap_or_else(|| default("key"));
    let request_file = csr.request.clone().unwrap_or_else(|| default("csr"));
    let key = match key_file.exists() {
        true => authority::key(&key_file.as_path().into())?,
        false => {
            let key = csr.key_type.generate()?;
            files::write_key(&key_file, &key.pem(), false)?;
            key
        }
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id);
    let request = params
        .serialize_request(&key)
        .and_then(|request| request.pem())
        .map_err(|error| failed(&error))?;
    files::write_public(&request_file, &request, csr.overwrite)?;
    context
        .output
        .item(json!({"request": request_file, "keyFile": key_file}))
}
