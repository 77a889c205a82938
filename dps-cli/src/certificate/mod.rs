//! `dps certificate`: certificate authorities, device certificates, requests, proof of possession, and what a file contains.

mod authority;
mod check_endorsement;
mod container;
mod create_ca;
mod csr;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod inspect;
mod issue;
mod needs_renewal;
pub(crate) mod parsed;
mod proof_of_possession;
mod signing_key;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(crate) use authority::{Authority, KeyType, key as private_key};

use crate::context::Context;
use crate::failure::Result;

#[derive(Args)]
pub(crate) struct CertificateCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Create a root CA: a key and a self-signed certificate
    CreateCa(create_ca::CreateCa),
    /// Issue the certificate of a device, or of an intermediate CA
    Issue(issue::Issue),
    /// Create a key and a certificate signing request
    Csr(csr::Csr),
    /// Prove the possession of a CA certificate: a certificate for the verification code of the instance
    ProofOfPossession(proof_of_possession::ProofOfPossession),
    /// Report by the exit code whether a certificate needs to be renewed
    NeedsRenewal(needs_renewal::NeedsRenewal),
    /// Check that a TPM manufacturer certifies the endorsement key of a device
    ///
    /// Exit code 0 if the certificate confirms the endorsement key, 4 if it does not: do not enroll the device then. Many TPMs hold
    /// the certificate in their memory: `tpm2_nvread 0x01c00002 -o FILE`. It is for the key that the TCG's template creates.
    CheckEndorsement(check_endorsement::CheckEndorsement),
    /// Describe the certificates, keys and requests in a file
    Inspect(inspect::Inspect),
}

pub(crate) fn run(command: CertificateCommand, context: &Context) -> Result<ExitCode> {
    match command.action {
        Action::CreateCa(create) => create_ca::run(&create, context)?,
        Action::Issue(issue) => issue::run(&issue, context)?,
        Action::Csr(csr) => csr::run(&csr, context)?,
        Action::ProofOfPossession(proof) => proof_of_possession::run(&proof, context)?,
        Action::NeedsRenewal(command) => return needs_renewal::run(&command, context),
        Action::CheckEndorsement(check) => check_endorsement::run(&check, context)?,
        Action::Inspect(inspect) => inspect::run(&inspect, context)?,
    }
    Ok(ExitCode::SUCCESS)
}
