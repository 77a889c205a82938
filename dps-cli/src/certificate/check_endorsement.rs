//! `dps certificate check-endorsement`: the manufacturer of a TPM confirms its endorsement key.

use std::time::SystemTime;

use clap::Args;
use dps_service::EndorsementVerifier;
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::input::{self, InputFile};

#[derive(Args)]
pub(crate) struct CheckEndorsement {
    /// File with the manufacturer's certificate of the endorsement key, in PEM or DER; - for stdin
    certificate: InputFile,
    /// File with the endorsement key, in base64
    #[arg(long, value_name = "FILE")]
    endorsement_key_file: InputFile,
    /// File with the root certificates of the TPM manufacturers that are trusted
    #[arg(long, value_name = "FILE")]
    manufacturer_roots: InputFile,
    /// File with the intermediate certificates of the TPM manufacturers
    #[arg(long, value_name = "FILE")]
    intermediates: Option<InputFile>,
}

pub(super) fn run(command: &CheckEndorsement, context: &Context) -> Result {
    let key = input::endorsement_key(&command.endorsement_key_file)?;
    let mut verifier = EndorsementVerifier::new(&*input::read(&command.manufacturer_roots)?)?;
    if let Some(intermediates) = &command.intermediates {
        verifier = verifier.with_intermediates(&*input::read(intermediates)?)?;
    }
    let certificate = input::read(&command.certificate)?;
    let tpm = verifier.verify(&key, &*certificate, SystemTime::now())?;
    context.output.item(json!({
        "registrationId": key.default_registration_id(),
        "manufacturer": tpm.manufacturer(),
        "model": tpm.model(),
        "version": tpm.version(),
        "notAfter": tpm.not_after(),
    }))
}
