//! `dps key measure` and `dps key approve`: the measured state of a device, to which the keys of a TPM can be bound.

use std::path::PathBuf;

use clap::Args;

use super::place::TpmPlace;
use crate::context::Context;
use crate::failure::Result;
use crate::input::InputFile;

#[derive(Args)]
#[cfg_attr(not(feature = "tpm"), allow(dead_code, reason = "no TPM"))]
pub(super) struct Measure {
    /// PCRs of one bank, such as sha256:0,2,4,7
    pcrs: String,
    #[command(flatten)]
    tpm: TpmPlace,
    /// File for the measured state, which is not a secret
    #[arg(long, value_name = "FILE", default_value = "state.txt")]
    state: PathBuf,
    /// File for the message that an authority signs with ECDSA and SHA-256 to approve the state
    #[arg(long, value_name = "FILE")]
    message: Option<PathBuf>,
    /// Replace existing files
    #[arg(long)]
    overwrite: bool,
}

#[derive(Args)]
#[cfg_attr(not(feature = "tpm"), allow(dead_code, reason = "no TPM"))]
pub(super) struct Approve {
    /// File with the measured state; - for stdin
    state: InputFile,
    /// File with the signature of the authority for the message of `dps key measure`, in DER; - for stdin
    signature: InputFile,
    /// File for the approval, which is not a secret
    #[arg(long, value_name = "FILE", default_value = "approval.txt")]
    approval: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    overwrite: bool,
}

#[cfg(feature = "tpm")]
mod tpm {
    use dps_device::tpm::{Approval, MeasuredState, PcrBank};
    use serde_json::json;

    use super::*;
    use crate::failure::Failure;
    use crate::{files, input};

    impl Measure {
        pub(in crate::key) async fn run(&self, context: &Context) -> Result {
            let (bank, pcrs) = self.pcrs()?;
            let state = self.tpm.open().await?.measured_state(bank, pcrs).await?;
            files::write_public(&self.state, format!("{state}\n"), self.overwrite)?;
            if let Some(file) = &self.message {
                files::write_public(file, state.message_to_approve(), self.overwrite)?;
            }
            context.output.item(json!({
                "state": state.to_string(),
                "file": self.state,
                "message": self.message,
            }))
        }

        fn pcrs(&self) -> Result<(PcrBank, Vec<u8>)> {
            let invalid = || {
                Failure::usage(format!(
                    "{:?} is not a list of PCRs: it has the form sha256:0,2,4,7",
                    self.pcrs
                ))
            };
            let (bank, pcrs) = self.pcrs.split_once(':').ok_or_else(invalid)?;
            let pcrs = pcrs
                .split(',')
                .map(|pcr| pcr.parse().map_err(|_| invalid()));
            Ok((bank.parse()?, pcrs.collect::<Result<_>>()?))
        }
    }

    impl Approve {
        pub(in crate::key) fn run(&self, context: &Context) -> Result {
            let state: MeasuredState = input::read_text(&self.state)?
                .trim()
                .parse()
                .map_err(|error| Failure::from(error).about(self.state.display()))?;
            let approval = Approval::new(state, &input::read(&self.signature)?)
                .map_err(|error| Failure::from(error).about(self.signature.display()))?;
            files::write_public(&self.approval, format!("{approval}\n"), self.overwrite)?;
            context.output.item(json!({
                "approval": approval.to_string(),
                "file": self.approval,
            }))
        }
    }
}

#[cfg(not(feature = "tpm"))]
impl Measure {
    pub(super) async fn run(&self, _: &Context) -> Result {
        Err(crate::hardware::missing_feature("tpm"))
    }
}

#[cfg(not(feature = "tpm"))]
impl Approve {
    pub(super) fn run(&self, _: &Context) -> Result {
        Err(crate::hardware::missing_feature("tpm"))
    }
}
