//! Attestations: how a device proves its identity. This module has what an implementor of [`Attestation`] needs.
//!
//! DPS accepts three proofs: a client certificate, a shared key, and a TPM. Each attestation has one of them, which is a
//! [`Proof`]. A key that stays in hardware implements [`Sign`] (HMAC-SHA256) or is a [`CertifiedKey`](rustls::sign::CertifiedKey)
//! in a [`ClientIdentity`]; a TPM implements [`TpmKeys`].

#[cfg(any(feature = "certificates", feature = "pkcs11", feature = "tpm"))]
pub(crate) mod blocking;
#[cfg(any(feature = "certificates", feature = "pkcs11", feature = "tpm"))]
pub(crate) mod device_key;
pub(crate) mod identity;
#[cfg(any(
    feature = "pkcs11",
    feature = "tpm",
    all(test, feature = "certificates")
))]
pub(crate) mod key_encoding;
#[cfg(any(feature = "certificates", feature = "pkcs11", feature = "tpm"))]
pub(crate) mod key_kind;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub(crate) mod proof;
pub(crate) mod symmetric_key;
#[cfg(feature = "tpm")]
pub mod tpm;
pub(crate) mod tpm_keys;
pub(crate) mod x509;

pub use dps_types::sas::{Sign, SignError, Signature};
pub use dps_types::tpm::{AuthenticationKey, TpmPublic};
pub use identity::ClientIdentity;
pub use proof::{Attestation, Proof};
pub use symmetric_key::SymmetricKeyAttestation;
pub use tpm_keys::TpmKeys;
pub use x509::X509Attestation;
