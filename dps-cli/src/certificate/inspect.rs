//! `dps certificate inspect`: the content of a file in words.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use x509_cert::der::DecodePem as _;
use x509_cert::request::CertReq;

use super::parsed::Parsed;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::input;
use crate::output::Column;
use crate::output::Format;

const COLUMNS: &[Column] = &[
    ("KIND", "/kind"),
    ("SUBJECT", "/subject"),
    ("ISSUER", "/issuer"),
    ("STATE", "/state"),
    ("NOT AFTER", "/notAfter"),
];

#[derive(Args)]
pub(crate) struct Inspect {
    /// File in PEM, DER or base64; - for stdin
    file: PathBuf,
}

pub(super) fn run(inspect: &Inspect, context: &Context) -> Result {
    let bytes = input::read(&inspect.file)?;
    let documents = describe(&bytes).map_err(|failure| failure.about(inspect.file.display()))?;
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

fn describe(bytes: &[u8]) -> Result<Vec<Value>> {
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
