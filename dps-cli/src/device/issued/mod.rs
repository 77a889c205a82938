//! The certificate that the service issues to a device: the options that request it, and its files.

mod files;

use std::path::{Path, PathBuf};

use clap::Args;
use dps_device::RegistrationId;
use dps_device::certificate::{
    CertificateRequest, Credential, IssuedCertificate, KeySource, MemoryKeySource,
};
use dps_types::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub(super) use files::IssuedFiles;

use crate::certificate::KeyType;
use crate::failure::{Failure, Result};
use crate::{files as disk, input};

#[derive(Args)]
#[command(next_help_heading = "Issued certificate")]
pub(super) struct RequestOptions {
    /// Request a certificate with this certificate signing request (PKCS#10, PEM or DER), whose common name is the registration id
    #[arg(
        long,
        value_name = "FILE",
        requires = "certificate_out",
        conflicts_with = "new_key"
    )]
    csr: Option<PathBuf>,
    /// Request a certificate for a new key pair, and write the private key to this file
    #[arg(long, value_name = "FILE", requires = "certificate_out")]
    new_key: Option<PathBuf>,
    /// File for the issued certificate and its issuers. With the same name as --new-key, one file contains all
    #[arg(long, value_name = "FILE")]
    certificate_out: Option<PathBuf>,
    /// Kind of the new key
    #[arg(long, value_enum, default_value = "p256", value_name = "KIND")]
    key_type: KeyType,
    /// Replace existing files
    #[arg(long, visible_alias = "force")]
    overwrite: bool,
}

/// A certificate request, and where its certificate is written.
pub(super) struct Requested {
    pub(super) request: CertificateRequest,
    destination: Destination,
    overwrite: bool,
}

enum Destination {
    /// The private key is in another program.
    Chain(PathBuf),
    Pair {
        files: IssuedFiles,
        key: Zeroizing<String>,
    },
}

impl RequestOptions {
    /// The request that the options select. Nothing is overwritten, and nothing is sent if the files cannot be written.
    pub(super) async fn request(&self, id: &RegistrationId) -> Result<Option<Requested>> {
        let Some(out) = &self.certificate_out else {
            return Ok(None);
        };
        let (request, destination) = match (&self.csr, &self.new_key) {
            (Some(file), _) => {
                self.check(out)?;
                let request = CertificateRequest::read(&input::read(file)?)
                    .map_err(|error| Failure::from(error).about(file.display()))?;
                (request, Destination::Chain(out.clone()))
            }
            (None, Some(new_key)) => {
                let files = IssuedFiles::new(new_key, out);
                self.check(new_key)?;
                self.check(out)?;
                let (key, pair) = MemoryKeySource::new(self.key_type.into())
                    .generate(&[])
                    .await?;
                let request = CertificateRequest::new(id.clone(), pair).await?;
                (request, Destination::Pair { files, key })
            }
            (None, None) => {
                return Err(Failure::usage(
                    "--certificate-out requires --csr or --new-key",
                ));
            }
        };
        Ok(Some(Requested {
            request,
            destination,
            overwrite: self.overwrite,
        }))
    }

    fn check(&self, path: &Path) -> Result {
        if path.exists() && !self.overwrite {
            return Err(Failure::usage(format!("{} exists", path.display()))
                .with_hint("use --overwrite to replace it"));
        }
        disk::check_writable(path)
    }
}

impl Requested {
    /// Writes the files.
    pub(super) async fn write(&self, certificate: &IssuedCertificate) -> Result<Value> {
        match &self.destination {
            Destination::Chain(file) => {
                let chain = chain_pem(certificate.chain());
                disk::write_public(file, &chain, self.overwrite)?;
                Ok(describe(certificate, file, None))
            }
            Destination::Pair { files, key } => {
                files
                    .replace(&Credential::new(key.clone(), certificate))
                    .await?;
                Ok(files.describe(certificate))
            }
        }
    }
}

/// Certificates in PEM, the device's first.
fn chain_pem<'a>(chain: impl Iterator<Item = &'a [u8]>) -> String {
    chain
        .map(|der| disk::pem("CERTIFICATE", der).to_string())
        .collect()
}

fn describe(certificate: &IssuedCertificate, file: &Path, key_file: Option<&Path>) -> Value {
    json!({
        "file": file,
        "keyFile": key_file,
        "validFrom": Timestamp::from(certificate.valid_from()),
        "validUntil": Timestamp::from(certificate.valid_until()),
    })
}
