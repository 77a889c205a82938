//! The hub key: stored in the TPM, replaced by each successful registration, and used to sign tokens for the hub.

use async_trait::async_trait;
use dps_types::sas::{Sign, SignError, Signature};
use tracing::{debug, warn};
use tss_esapi::handles::ObjectHandle;
use tss_esapi::structures::MaxBuffer;

use super::connection::Connection;
use super::error::TpmError;
use super::handle::Tpm;
use super::options::PersistentHandle;
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

/// Stores a hub key in place of the previous one. The new key is first stored at the spare handle, so that the TPM has a hub key at
/// every moment, also after a power failure.
///
/// If the TPM has no space for a second hub key, the previous one is removed first.
pub(super) fn store(connection: &mut Connection<'_>, key: &WrappedKey) -> Result<(), TpmError> {
    let (handle, spare) = handles(connection);
    let auth = &connection.options.hub_key_auth;
    let protected = match auth.is_empty() {
        true => None,
        false => Some(key.with_auth(connection, auth)?),
    };
    let key = protected.as_ref().unwrap_or(key);
    key.loaded(connection, |connection, new| {
        // An interrupted replacement may have left a key at the spare handle.
        let left = hub_key_at(connection, spare)?;
        if let Some(old) = hub_key_at(connection, handle)? {
            if let Some(left) = left {
                connection.evict_control(left, spare)?;
            }
            match connection.evict_control(new, spare) {
                Err(error) if error.is_out_of_space() => {
                    warn!(%error, "the hub key is replaced without a spare");
                }
                stored => stored?,
            }
            connection.evict_control(old, handle)?;
        }
        connection.evict_control(new, handle)?;
        match hub_key_at(connection, spare)? {
            Some(replaced) => connection.evict_control(replaced, spare),
            None => Ok(()),
        }
    })?;
    debug!(%handle, "the hub key was stored");
    Ok(())
}

fn sign(connection: &mut Connection<'_>, data: MaxBuffer) -> Result<Signature, TpmError> {
    let (handle, spare) = handles(connection);
    let key = match connection.persistent(handle)? {
        Some(key) => Some(key),
        None => hub_key_at(connection, spare)?,
    };
    match key {
        Some(key) => {
            connection.authorize(key, &connection.options.hub_key_auth)?;
            hmac(connection, key, data)
        }
        None => Err(TpmError::configuration(format!(
            "the TPM has no hub key at {handle}: register the device first"
        ))),
    }
}

/// The handle of the hub key, and the one of a key that is about to replace it.
fn handles(connection: &Connection<'_>) -> (PersistentHandle, PersistentHandle) {
    let options = &connection.options;
    (options.hub_key, options.hub_key_spare)
}

/// The hub key at a handle. `None` if the handle is not in use.
fn hub_key_at(
    connection: &mut Connection<'_>,
    handle: PersistentHandle,
) -> Result<Option<ObjectHandle>, TpmError> {
    let Some(object) = connection.persistent(handle)? else {
        return Ok(None);
    };
    match signs_with_hmac(&connection.public(object)?) {
        true => Ok(Some(object)),
        false => Err(TpmError::configuration(format!(
            "the object at {handle} is not a hub key and is not replaced: choose another handle"
        ))),
    }
}
