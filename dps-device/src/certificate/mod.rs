//! Certificates that DPS issues: the device generates a key pair, sends a certificate request with its registration, and connects
//! to its hub with the certificate that it receives. The private key never leaves the device.
//!
//! The enrollment must name a namespace, a certificate authority and a policy. Any attestation proves the device's identity to
//! DPS; the issued certificate proves it to the hub.
//!
//! ```no_run
//! # async fn provision(client: dps_device::ProvisioningClient) -> Result<(), Box<dyn std::error::Error>> {
//! use dps_device::certificate::{CertificateRequest, KeyKind, KeyPair};
//!
//! let key = KeyPair::generate(KeyKind::P256)?;
//! let request = CertificateRequest::new("toaster-0815".parse()?, key).await?;
//! let (assignment, certificate) = client.register().certificate(request).await?;
//! println!("{} has a certificate until {:?}", assignment.device_id(), certificate.valid_until());
//! # Ok(())
//! # }
//! ```
//!
//! A [`CredentialStore`] keeps the certificate over restarts, and the one before it until the new one has connected once. A
//! [`KeySource`] generates the key pairs: in memory, in a PKCS#11 token or in a TPM.
//!
//! Source: `device.json` of api-version 2026-11-01, and azure-docs `iot-dps/` about certificate issuance (2026-10-01).

mod chain;
mod credential;
mod credential_file;
#[cfg(feature = "hub")]
mod event;
mod fault;
mod issued;
#[cfg(feature = "hub")]
pub(crate) mod keeper;
mod key_pair;
mod key_source;
#[cfg(feature = "hub")]
mod options;
#[cfg(feature = "pkcs11")]
mod pkcs11_key_source;
mod register;
#[cfg(feature = "hub")]
pub(crate) mod renewal;
mod renewal_answer;
mod request;
#[cfg(feature = "hub")]
mod schedule;
mod store;
#[cfg(feature = "tpm")]
mod tpm_key_source;

pub use crate::attestation::key_kind::KeyKind;
pub use credential::Credential;
pub use credential_file::CredentialFile;
#[cfg(feature = "hub")]
pub use event::CertificateEvent;
pub use fault::CertificateFault;
pub use issued::IssuedCertificate;
pub use key_pair::KeyPair;
pub use key_source::{KeySource, MemoryKeySource};
#[cfg(feature = "hub")]
pub use options::CertificateOptions;
#[cfg(feature = "pkcs11")]
pub use pkcs11_key_source::Pkcs11KeySource;
pub use register::RegisterCertificate;
#[cfg(feature = "hub")]
pub use renewal::RenewalPlace;
pub use renewal_answer::{RenewalAnswer, RenewalRefusal, RetryRule};
pub use request::CertificateRequest;
#[cfg(feature = "hub")]
pub use schedule::RenewalSchedule;
pub use store::{CredentialStore, StoredCredentials};
#[cfg(feature = "tpm")]
pub use tpm_key_source::TpmKeySource;
