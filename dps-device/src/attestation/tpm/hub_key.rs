//! The key for the IoT hub: kept in the TPM over restarts, replaced by each registration that succeeds.

use async_trait::async_trait;
use dps_types::sas::{Sign, SignError, Signature};
use tracing::debug;
use tss_esapi::structures::MaxBuffer;

use super::connection::Connection;
use super::error::TpmError;
use super::handle::Tpm;
use super::wrapped_key::{WrappedKey, hmac, message, signs_with_hmac};

/// Signs with the key for the IoT hub that a TPM keeps: the SAS tokens of the device towards its hub, also after a
/// restart and without a registration.
///
/// For such a token see [`SasTokenBuilder`](dps_types::sas::SasTokenBuilder): the resource is `{hub}/devices/{deviceId}`, without a policy.
#[derive(Debug, Clone)]
pub struct HubSigner {
    tpm: Tpm,
}

impl HubSigner {
    pub(super) fn new(tpm: Tpm) -> Self {
        Self { tpm }
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
            .map_err(|error| error.sign_error("the TPM cannot sign with the key for the IoT hub"))
    }
}

/// Keeps a key in place of the one before. That one is evicted only when the new one is loaded: what can go wrong with
/// it has gone wrong by then. A power cut between the two, or a TPM that takes no second write, leaves none until the next
/// registration.
pub(super) fn keep(connection: &mut Connection<'_>, key: &WrappedKey) -> Result<(), TpmError> {
    let place = connection.options.hub_key;
    key.loaded(connection, |connection, new| {
        if let Some(old) = connection.persistent(place)? {
            if !signs_with_hmac(&connection.public(old)?) {
                return Err(TpmError::configuration(format!(
                    "the object at {place} is no key of an IoT hub, and is left alone: name another handle"
                )));
            }
            connection.evict_control(old, place)?;
        }
        connection.evict_control(new, place)
    })?;
    debug!(handle = %place, "the key for the IoT hub is kept");
    Ok(())
}

fn sign(connection: &mut Connection<'_>, data: MaxBuffer) -> Result<Signature, TpmError> {
    let place = connection.options.hub_key;
    match connection.persistent(place)? {
        Some(key) => hmac(connection, key, data),
        None => Err(TpmError::configuration(format!(
            "the TPM keeps no key for the IoT hub at {place}: register the device first"
        ))),
    }
}
