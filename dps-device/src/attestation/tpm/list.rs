//! The handles of the signing keys that are stored in a TPM.

use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::TpmHandle;
use tss_esapi::structures::CapabilityData;

use super::connection::Connection;
use super::error::TpmError;
use super::handle::Tpm;
use super::key_pair::is_key_pair;
use super::options::PersistentHandle;
use crate::error::Error;

/// The first handle of a persistent object. Source: TPM 2.0 library specification, part 2, 7.5.
const FIRST: u32 = 0x8100_0000;
/// A TPM has space for a few persistent objects, and returns at most 254 handles at once.
const MAX_HANDLES: u32 = 254;

impl Tpm {
    /// Lists the handles of the stored keys that can sign for TLS: key pairs that [`create`](super::KeyPairOptions::create) or another
    /// program has stored. Keys of other kinds, such as the storage root key, and keys that require a policy are not listed.
    ///
    /// # Errors
    /// [`Signing`](crate::ErrorKind::Signing) if the TPM fails. The source is a [`TpmError`].
    pub async fn key_pairs(&self) -> Result<Vec<PersistentHandle>, Error> {
        self.run(|connection| list(connection, false))
            .await
            .map_err(|error| error.into_error("the key pairs cannot be listed"))
    }

    /// As [`key_pairs`](Self::key_pairs), with the keys that require a policy.
    #[cfg(feature = "certificates")]
    pub(crate) async fn key_pairs_of_any_policy(&self) -> Result<Vec<PersistentHandle>, Error> {
        self.run(|connection| list(connection, true))
            .await
            .map_err(|error| error.into_error("the key pairs cannot be listed"))
    }
}

fn list(
    connection: &mut Connection<'_>,
    with_policies: bool,
) -> Result<Vec<PersistentHandle>, TpmError> {
    let (answer, _) = connection.plain("TPM2_GetCapability", |context| {
        context.get_capability(CapabilityType::Handles, FIRST, MAX_HANDLES)
    })?;
    let CapabilityData::Handles(stored) = answer else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for handle in stored.into_inner() {
        let (TpmHandle::Persistent(_), Ok(handle)) = (handle, PersistentHandle::new(handle.into()))
        else {
            continue;
        };
        // Another program may have removed it in the meantime.
        let Some(object) = connection.persistent(handle)? else {
            continue;
        };
        let public = connection.public(object)?;
        let is_usable = with_policies || public.object_attributes().user_with_auth();
        if is_key_pair(&public) && is_usable {
            found.push(handle);
        }
    }
    Ok(found)
}
