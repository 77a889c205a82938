//! The certificate that the service issues to a device: the options that request it, and its place in files or in hardware.

mod chain_file;
mod files;
mod hardware_keys;
mod next_to_keys;
mod options;
mod place;
mod protection;
mod replaced;
mod store_error;
mod storing;
#[cfg(feature = "pkcs11")]
mod token;
#[cfg(feature = "tpm")]
mod tpm;
mod unsaved;

use std::path::PathBuf;

use clap::Args;
use dps_device::RegistrationId;
use dps_device::certificate::{CertificateRequest, IssuedCertificate};
use serde_json::Value;
use zeroize::Zeroizing;

pub(super) use options::NewKeyOptions;
pub(super) use place::{Held, IssuedPlace};
pub(super) use storing::stopped_before_it_was_stored;

use crate::certificate::KeyType;
use crate::device::attestation::AttestationOptions;
use crate::failure::{Failure, Result};
use crate::files as disk;
use crate::input::{self, InputFile};

#[derive(Args)]
#[command(next_help_heading = "Issued certificate")]
pub(super) struct RequestOptions {
    /// Request a certificate with this certificate signing request (PKCS#10, PEM or DER), whose common name is the registration id
    #[arg(
        long,
        value_name = "FILE",
        requires = "certificate_out",
        conflicts_with = "new_key_place"
    )]
    csr: Option<InputFile>,
    #[command(flatten)]
    new_key: NewKeyOptions,
    /// Kind of the new key
    #[arg(long, value_enum, default_value = "p256", value_name = "KIND")]
    key_type: KeyType,
    /// Replace existing files and keys
    #[arg(long, visible_alias = "force")]
    overwrite: bool,
}

/// A certificate request, and where its certificate is stored.
pub(super) struct Requested {
    pub(super) request: CertificateRequest,
    destination: Destination,
    overwrite: bool,
}

enum Destination {
    /// The private key is in another program.
    Chain(PathBuf),
    Place {
        place: IssuedPlace,
        key: Zeroizing<String>,
    },
}

impl RequestOptions {
    /// The request that the options select. Nothing is overwritten, and nothing is sent if the files cannot be written.
    pub(super) async fn request(
        &self,
        id: &RegistrationId,
        attestation: &AttestationOptions,
    ) -> Result<Option<Requested>> {
        let place = self.new_key.place(self.key_type.into(), attestation);
        let place = place.await?;
        let (request, destination) = match (&self.csr, place, &self.new_key.certificate_out) {
            (_, Some(place), _) => {
                let held = match self.overwrite {
                    true => place.completed(id, true).await?,
                    false => {
                        place.check_free().await?;
                        None
                    }
                };
                place.check_writable(held.as_ref()).await?;
                let (key, request) = place.request(id, held.as_ref()).await?;
                (request, Destination::Place { place, key })
            }
            (Some(csr), None, Some(out)) => {
                if input::exists(out)? && !self.overwrite {
                    return Err(Failure::usage(format!("{} exists", out.display()))
                        .with_hint("use --overwrite to replace it"));
                }
                disk::check_writable(out).map_err(|error| Failure::usage(error.to_string()))?;
                let request = CertificateRequest::read(&input::read(csr)?)
                    .map_err(|error| Failure::from(error).about(csr.display()))?;
                (request, Destination::Chain(out.clone()))
            }
            (None, None, Some(_)) => {
                return Err(Failure::usage(
                    "--certificate-out requires --csr, --new-key, --new-key-pkcs11 or --new-key-tpm",
                ));
            }
            (_, None, None) => return Ok(None),
        };
        Ok(Some(Requested {
            request,
            destination,
            overwrite: self.overwrite,
        }))
    }
}

impl Requested {
    /// Stores the certificate.
    pub(super) async fn store(&self, certificate: &IssuedCertificate) -> Result<Value> {
        match &self.destination {
            Destination::Chain(file) => {
                let chain = disk::chain_pem(certificate.chain());
                disk::write_public(file, &chain, self.overwrite).map_err(|failure| {
                    let failure = failure.about("the certificate was issued, but cannot be stored");
                    let hint = format!("write the certificates below to {}", file.display());
                    storing::containing(failure.with_hint(hint), certificate)
                })?;
                Ok(place::describe(certificate, Some(file), None))
            }
            Destination::Place { place, key } => {
                let issued = Held {
                    name: key.clone(),
                    certificate: certificate.clone(),
                };
                place.store(&issued).await?;
                Ok(place.describe(&issued))
            }
        }
    }

    /// Removes the key of an earlier certificate, when the new one is stored.
    pub(super) async fn remove_earlier(self, certificate: IssuedCertificate) -> Result {
        match self.destination {
            Destination::Chain(_) => Ok(()),
            Destination::Place { place, key: name } => {
                place.remove_others(&Held { name, certificate }).await
            }
        }
    }

    /// Removes the new key, because no certificate was issued for it.
    pub(super) async fn discard(self) -> Result {
        match self.destination {
            Destination::Chain(_) => Ok(()),
            Destination::Place { place, key } => place.discard(&key).await,
        }
    }
}
