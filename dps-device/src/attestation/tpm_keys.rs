//! The trait for the keys of a TPM that attestation requires.

use std::sync::Arc;

use async_trait::async_trait;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::tpm::{AuthenticationKey, TpmPublic};

/// The keys of a TPM. [`Sign::sign`] signs with the key of the last challenge.
///
/// Source: azure-docs `iot-dps/concepts-tpm-attestation.md`.
#[async_trait]
pub trait TpmKeys: Sign {
    /// The public part of the endorsement key.
    fn endorsement_key(&self) -> &TpmPublic;

    /// The public part of the storage root key.
    fn storage_root_key(&self) -> &TpmPublic;

    /// Opens a challenge, whose key signs from then on. The transport calls it: the challenge is a 401 over HTTPS, and a
    /// part of SASL over AMQP.
    ///
    /// The key is used for this registration only. The hub key in the TPM does not change.
    ///
    /// # Errors
    /// If the challenge is not for this TPM, or the TPM fails. Nothing has changed then.
    async fn activate(&self, challenge: &AuthenticationKey) -> Result<(), SignError>;

    /// Stores the hub key of an assignment in place of the previous one. It signs from then on.
    ///
    /// # Errors
    /// As [`activate`](Self::activate).
    async fn keep_hub_key(&self, key: &AuthenticationKey) -> Result<(), SignError>;

    /// Signs with the stored hub key, also while a challenge is open: a registration that fails must not cut the device off
    /// from its hub.
    ///
    /// The default signs as [`Sign::sign`] does.
    ///
    /// # Errors
    /// If the TPM has no hub key, or fails.
    async fn sign_for_hub(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.sign(data).await
    }
}

macro_rules! forward_tpm_keys {
    ($($pointer:ty),+) => {$(
        #[async_trait]
        impl<T: TpmKeys + ?Sized> TpmKeys for $pointer {
            fn endorsement_key(&self) -> &TpmPublic {
                (**self).endorsement_key()
            }

            fn storage_root_key(&self) -> &TpmPublic {
                (**self).storage_root_key()
            }

            async fn activate(&self, challenge: &AuthenticationKey) -> Result<(), SignError> {
                (**self).activate(challenge).await
            }

            async fn keep_hub_key(&self, key: &AuthenticationKey) -> Result<(), SignError> {
                (**self).keep_hub_key(key).await
            }

            async fn sign_for_hub(&self, data: &[u8]) -> Result<Signature, SignError> {
                (**self).sign_for_hub(data).await
            }
        }
    )+};
}

forward_tpm_keys!(&T, Box<T>, Arc<T>);
