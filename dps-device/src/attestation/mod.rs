//! Who the device is: one kind of attestation a file, each reduced to one of three proofs.

#[cfg(any(feature = "pkcs11", feature = "tpm"))]
mod device_key;
mod identity;
#[cfg(any(feature = "pkcs11", feature = "tpm"))]
mod key_kind;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
mod symmetric_key;
#[cfg(feature = "tpm")]
pub mod tpm;
mod x509;

use std::fmt;

use async_trait::async_trait;
use dps_types::RegistrationId;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::tpm::{AuthenticationKey, TpmPublic};

pub use identity::ClientIdentity;
pub use symmetric_key::SymmetricKeyAttestation;
pub use x509::X509Attestation;

/// A device's way to prove who it is.
pub trait Attestation: Send + Sync {
    /// The device's name towards DPS.
    fn registration_id(&self) -> &RegistrationId;

    /// The proof.
    fn proof(&self) -> Proof<'_>;

    /// A second proof, tried once in a registration when the service refuses the first: with 401, or a
    /// refused MQTT connection.
    fn secondary_proof(&self) -> Option<Proof<'_>> {
        None
    }
}

/// What DPS takes for a proof. A transport carries it, or says that it cannot.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Proof<'a> {
    /// A client certificate, shown in the TLS handshake.
    Certificate(&'a ClientIdentity),
    /// A shared key, which signs SAS tokens.
    SharedKey(&'a dyn Sign),
    /// A TPM, which signs with a key that the service sends it in a challenge.
    Tpm(&'a dyn TpmKeys),
}

/// The keys of a TPM. As a [`Sign`] it signs with the key of the last challenge.
///
/// Source: azure-docs `iot-dps/concepts-tpm-attestation.md`.
#[async_trait]
pub trait TpmKeys: Sign {
    /// The public part of the endorsement key.
    fn endorsement_key(&self) -> &TpmPublic;

    /// The public part of the storage root key.
    fn storage_root_key(&self) -> &TpmPublic;

    /// Opens a challenge, whose key signs from then on. When to call it is the transport's business: the challenge comes
    /// as a 401 over HTTPS and inside SASL over AMQP.
    ///
    /// The key is for this registration alone: a hub key that the TPM keeps is not touched.
    ///
    /// # Errors
    /// When the challenge is not for this TPM, or the TPM does not work. Everything is then as it was.
    async fn activate(&self, challenge: &AuthenticationKey) -> Result<(), SignError>;

    /// Keeps the hub key that comes with the assignment, in place of the one before. It signs from then on.
    ///
    /// # Errors
    /// As [`activate`](Self::activate).
    async fn keep_hub_key(&self, key: &AuthenticationKey) -> Result<(), SignError>;

    /// Signs with the hub key that the TPM keeps, also while a challenge is open: a registration that goes wrong must not
    /// cost the device its hub.
    ///
    /// Left to itself it signs as [`Sign`] does.
    ///
    /// # Errors
    /// When the TPM keeps no hub key, or does not work.
    async fn sign_for_hub(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.sign(data).await
    }
}

impl fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(identity) => f.debug_tuple("Certificate").field(identity).finish(),
            Self::SharedKey(_) => f.write_str("SharedKey(..)"),
            Self::Tpm(_) => f.write_str("Tpm(..)"),
        }
    }
}
