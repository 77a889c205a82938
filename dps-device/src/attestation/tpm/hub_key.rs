//! The hub key: stored in the TPM, replaced by each successful registration, and used to sign tokens for the hub.

use async_trait::async_trait;
use dps_types::sas::{Sign, SignError, Signature};
use tracing::debug;
use tss_esapi::structures::MaxBuffer;

use super::connection::Connection;
use super::error::TpmError;
use super::handle::Tpm;
use super::wrapped_key::{WrappedKey, hmac, message, signs_with_hmac};

/// Signs with the hub key in a TPM: SAS tokens for the device's IoT hub. It needs no registration after a restart.
///
/// To make a token, use [`SasTokenBuilder`](dps_types::sas::SasTokenBuilder) with the resource `{hub}/devices/{deviceId}` and no
/// policy.
#[derive(Debug, Clone)]
pub struct HubSigner {
    tpm: Tpm,
}

impl Tpm {
    /// A signer that uses the hub key, which the TPM has stored since the last successful registration.
    pub fn hub_signer(&self) -> HubSigner {
        HubSigner { tpm: self.clone() }
    }
}

#[async_trait]
impl Sign for HubSigner {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        let sign = async {
            let data = message(data)?;
            self.tpm.run(move |connection| sign(connection, data)).await
        };
        sign.await
            .map_err(|error| error.sign_error("the TPM cannot sign with the hub key"))
    }
}

/// Stores a hub key in place of the previous one, which is removed only after the new one was loaded successfully. If the power
/// fails between the two, or the TPM refuses the second write, there is no hub key until the next registration.
pub(super) fn store(connection: &mut Connection<'_>, key: &WrappedKey) -> Result<(), TpmError> {
    let handle = connection.options.hub_key;
    key.loaded(connection, |connection, new| {
        if let Some(old) = connection.persistent(handle)? {
            if !signs_with_hmac(&connection.public(old)?) {
                return Err(TpmError::configuration(format!(
                    "the object at {handle} is not a hub key and is not replaced: choose another handle"
                )));
            }
            connection.evict_control(old, handle)?;
        }
        connection.evict_control(new, handle)
    })?;
    debug!(%handle, "the hub key was stored");
    Ok(())
}

fn sign(connection: &mut Connection<'_>, data: MaxBuffer) -> Result<Signature, TpmError> {
    let handle = connection.options.hub_key;
    match connection.persistent(handle)? {
        Some(key) => hmac(connection, key, data),
        None => Err(TpmError::configuration(format!(
            "the TPM has no hub key at {handle}: register the device first"
        ))),
    }
}
