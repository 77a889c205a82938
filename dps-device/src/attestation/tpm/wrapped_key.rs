//! A key from the service, which is opened inside the TPM and never leaves it.

use dps_types::sas::Signature;
use dps_types::tpm::AuthenticationKey;
use tss_esapi::handles::ObjectHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{
    Auth, Data, EncryptedSecret, IdObject, MaxBuffer, Private, Public, SymmetricDefinitionObject,
};
use tss_esapi::traits::UnMarshall;

use super::auth_value::KeyAuth;
use super::connection::Connection;
use super::error::TpmError;
use super::keys;

/// A symmetric key that only this TPM can load, because its storage root key encrypts it.
pub(super) struct WrappedKey {
    private: Private,
    public: Public,
}

impl WrappedKey {
    /// Opens the key from the service, and checks that the TPM can load it. Nothing stays loaded.
    pub(super) fn open(
        connection: &mut Connection<'_>,
        sent: &AuthenticationKey,
    ) -> Result<Self, TpmError> {
        let endorsement_key = keys::stored(connection, connection.options.endorsement_key)?;
        let storage_root_key = keys::stored(connection, connection.options.storage_root_key)?;

        let inner = connection.endorsed("TPM2_ActivateCredential", |context| {
            context.activate_credential(
                storage_root_key,
                endorsement_key,
                IdObject::try_from(sent.credential())?,
                EncryptedSecret::try_from(sent.credential_secret())?,
            )
        })?;
        let symmetric = match inner.len() {
            16 => SymmetricDefinitionObject::AES_128_CFB,
            32 => SymmetricDefinitionObject::AES_256_CFB,
            length => {
                return Err(TpmError::refused(format!(
                    "the credential is not an AES key: it has {length} bytes, not 16 or 32"
                )));
            }
        };
        let (public, private) = connection.authorized("TPM2_Import", |context| {
            let public = Public::unmarshall(sent.public_area())?;
            let private = context.import(
                storage_root_key.into(),
                Some(Data::try_from(inner.value())?),
                public.clone(),
                Private::try_from(sent.duplicate())?,
                EncryptedSecret::try_from(sent.duplicate_seed())?,
                symmetric,
            )?;
            Ok((public, private))
        })?;

        let key = Self { private, public };
        if !signs_with_hmac(&key.public) {
            return Err(TpmError::refused(
                "the key from the service is not an HMAC key",
            ));
        }
        key.loaded(connection, |_, _| Ok(()))?;
        Ok(key)
    }

    /// The same key with an authorization value. The service sends keys without one.
    pub(super) fn with_auth(
        &self,
        connection: &mut Connection<'_>,
        auth: &KeyAuth,
    ) -> Result<Self, TpmError> {
        let parent = keys::stored(connection, connection.options.storage_root_key)?;
        let private = self.loaded(connection, |connection, key| {
            connection.authorized("TPM2_ObjectChangeAuth", |context| {
                let auth = Auth::try_from(auth.as_bytes())?;
                context.object_change_auth(key, parent.into(), auth)
            })
        })?;
        Ok(Self {
            private,
            public: self.public.clone(),
        })
    }

    /// Signs with HMAC-SHA256.
    pub(super) fn sign(
        &self,
        connection: &mut Connection<'_>,
        data: MaxBuffer,
    ) -> Result<Signature, TpmError> {
        self.loaded(connection, |connection, key| hmac(connection, key, data))
    }

    /// Loads the key, uses it, and flushes it.
    pub(super) fn loaded<T>(
        &self,
        connection: &mut Connection<'_>,
        run: impl FnOnce(&mut Connection<'_>, ObjectHandle) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let parent = keys::stored(connection, connection.options.storage_root_key)?;
        let (private, public) = (self.private.clone(), self.public.clone());
        let key = connection
            .authorized("TPM2_Load", |context| context.load(parent, private, public))?
            .into();
        connection.flushing(key, |connection| run(connection, key))
    }
}

/// True for an HMAC key. Sealed data is a keyed hash as well, but does not sign.
pub(super) fn signs_with_hmac(object: &Public) -> bool {
    matches!(object, Public::KeyedHash { .. }) && object.object_attributes().sign_encrypt()
}

/// The data to sign, if it is short enough.
pub(super) fn message(data: &[u8]) -> Result<MaxBuffer, TpmError> {
    MaxBuffer::try_from(data).map_err(|_| {
        TpmError::refused(format!(
            "a TPM signs up to {} bytes at once, and the data has {} bytes",
            MaxBuffer::MAX_SIZE,
            data.len()
        ))
    })
}

/// HMAC-SHA256 with a loaded or stored key.
pub(super) fn hmac(
    connection: &mut Connection<'_>,
    key: ObjectHandle,
    data: MaxBuffer,
) -> Result<Signature, TpmError> {
    let value = connection.authorized("TPM2_HMAC", |context| {
        context.hmac(key, data, HashingAlgorithm::Sha256)
    })?;
    <[u8; 32]>::try_from(value)
        .map(Signature)
        .map_err(|_| TpmError::refused("the key does not support HMAC-SHA256"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_long_data_has_both_lengths() {
        assert_eq!(message(&[7; 1024]).unwrap().len(), 1024);
        let error = message(&[7; 1025]).unwrap_err().to_string();
        assert!(error.contains("1024") && error.contains("1025"), "{error}");
    }
}
