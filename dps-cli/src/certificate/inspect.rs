//! `dps certificate inspect`: the content of a file in words.

use std::env;

use clap::Args;
use serde_json::{Value, json};
use x509_cert::der::DecodePem as _;
use x509_cert::request::CertReq;
use zeroize::Zeroizing;

use super::container;
use super::parsed::Parsed;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::format::Format;
use crate::input::{self, InputFile};
use crate::output::Column;

const COLUMNS: &[Column] = &[
    ("KIND", "/kind"),
    ("SUBJECT", "/subject"),
    ("ISSUER", "/issuer"),
    ("STATE", "/state"),
    ("NOT AFTER", "/notAfter"),
];

const PASSWORD_VARIABLE: &str = "DPS_FILE_PASSWORD";

#[derive(Args)]
pub(crate) struct Inspect {
    /// File in PEM, DER, base64 or PKCS#12 (.pfx, .p12); - for stdin
    file: InputFile,
    /// File with the password of a PKCS#12 file; - for stdin. Without it, the variable DPS_FILE_PASSWORD
    #[arg(long, value_name = "FILE")]
    password_file: Option<InputFile>,
}

pub(super) fn run(inspect: &Inspect, context: &Context) -> Result {
    let bytes = input::read(&inspect.file)?;
    let password = password(inspect.password_file.as_ref())?;
    let documents =
        describe(&bytes, &password).map_err(|failure| failure.about(inspect.file.display()))?;
    // One object is shown with all its fields.
    if let ([only], Format::Table) = (&documents[..], context.output.format()) {
        return context.output.item(only);
    }
    let mut list = context.output.list(COLUMNS);
    for document in documents {
        list.push(document)?;
    }
    list.finish()
}

/// The password without the end of its line; the default is empty.
fn password(file: Option<&InputFile>) -> Result<Zeroizing<String>> {
    let text = match file {
        Some(file) => input::read_text(file)?,
        None => Zeroizing::new(env::var(PASSWORD_VARIABLE).unwrap_or_default()),
    };
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

fn describe(bytes: &[u8], password: &str) -> Result<Vec<Value>> {
    if let Some(documents) = container::describe(bytes, password) {
        return documents;
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if text.contains("CERTIFICATE REQUEST-----") {
        let request = CertReq::from_pem(text.trim())
            .map_err(|error| Failure::usage("the request cannot be read").because(&error))?;
        return Ok(vec![
            json!({"kind": "certificate signing request", "subject": request.info.subject.to_string()}),
        ]);
    }
    let mut documents = Vec::new();
    let certificates = dps_tls::read_certificates(bytes);
    for der in certificates.as_deref().unwrap_or_default() {
        documents.push(Parsed::from_der(der).map_err(Failure::usage)?.describe());
    }
    if dps_tls::read_key(bytes).is_ok() {
        documents.push(json!({"kind": "private key", "state": "not encrypted"}));
    }
    match certificates {
        Err(error) if documents.is_empty() => {
            Err(Failure::usage("the file cannot be read").because(&error))
        }
        _ => Ok(documents),
    }
}
