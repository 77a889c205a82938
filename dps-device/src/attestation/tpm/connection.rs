//! A connection to the TPM for one use: it runs commands and leaves nothing loaded.

use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::{CapabilityType, SessionType};
use tss_esapi::handles::{AuthHandle, KeyHandle, ObjectHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::Provision;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Auth, CapabilityData, Digest, Nonce, Public, SymmetricDefinition};
use tss_esapi::traits::Marshall;
use tss_esapi::{Context, Result as TssResult};

use super::error::TpmError;
use super::options::{AuthValue, PersistentHandle, TpmOptions};

/// A connection to the TPM for one use.
///
/// Loaded objects are flushed as soon as they are no longer needed ([`flushing`](Self::flushing)). After a panic the [`Context`]
/// flushes them when it is dropped. A new connection for each use also means that a TPM works again after a restart, and that
/// other programs can use a TPM without a resource manager in between.
pub(super) struct Connection<'a> {
    context: Context,
    pub(super) options: &'a TpmOptions,
}

impl<'a> Connection<'a> {
    pub(super) fn open(options: &'a TpmOptions) -> Result<Self, TpmError> {
        let context = Context::new(options.tcti.name()).map_err(|error| {
            match options.tcti.device_error() {
                Some(reason) => TpmError::configuration(reason),
                None => TpmError::new("connecting", error),
            }
        })?;
        let mut connection = Self { context, options };
        connection.authorize(ObjectHandle::Owner, &options.owner)?;
        connection.authorize(ObjectHandle::Endorsement, &options.endorsement)?;
        Ok(connection)
    }

    /// Runs a command that needs no authorization.
    pub(super) fn plain<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        self.context
            .execute_without_session(run)
            .map_err(|error| TpmError::new(command, error))
    }

    /// Runs a command with the authorization value of its first handle.
    pub(super) fn authorized<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        self.context
            .execute_with_session(Some(AuthSession::Password), run)
            .map_err(|error| TpmError::new(command, error))
    }

    /// Runs a command with the authorizations of the storage root key and of the endorsement key. The policy of the latter
    /// requires the authorization value of the endorsement hierarchy.
    pub(super) fn endorsed<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        let session = self
            .plain("TPM2_StartAuthSession", |context| {
                context.start_auth_session(
                    None,
                    None,
                    None,
                    SessionType::Policy,
                    SymmetricDefinition::Null,
                    HashingAlgorithm::Sha256,
                )
            })?
            .ok_or_else(|| TpmError::refused("the TPM did not start a session"))?;
        self.flushing(SessionHandle::from(session).into(), |connection| {
            // Without this attribute the TPM would end the session itself after a success, but not after a failure.
            let (attributes, mask) = SessionAttributesBuilder::new()
                .with_continue_session(true)
                .build();
            connection.plain("TPM2_StartAuthSession", |context| {
                context.tr_sess_set_attributes(session, attributes, mask)
            })?;
            connection.authorized("TPM2_PolicySecret", |context| {
                context.policy_secret(
                    PolicySession::try_from(session)?,
                    AuthHandle::Endorsement,
                    Nonce::default(),
                    Digest::default(),
                    Nonce::default(),
                    None,
                )
            })?;
            let sessions = (Some(AuthSession::Password), Some(session), None);
            connection
                .context
                .execute_with_sessions(sessions, run)
                .map_err(|error| TpmError::new(command, error))
        })
    }

    /// Uses an object or a session, and flushes it afterwards, also after an error.
    pub(super) fn flushing<T>(
        &mut self,
        object: ObjectHandle,
        run: impl FnOnce(&mut Self) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let result = run(self);
        let flushed = self.plain("TPM2_FlushContext", |context| context.flush_context(object));
        let value = result?;
        flushed?;
        Ok(value)
    }

    /// Sets the authorization value of an object.
    pub(super) fn authorize(
        &mut self,
        object: ObjectHandle,
        value: &AuthValue,
    ) -> Result<(), TpmError> {
        if value.is_empty() {
            return Ok(());
        }
        let auth = Auth::try_from(value.as_bytes()).map_err(|_| {
            TpmError::configuration("an authorization value is longer than 64 bytes")
        })?;
        self.plain("authorizing", |context| context.tr_set_auth(object, auth))
    }

    /// The object at a handle. `None` if the handle is not in use.
    ///
    /// Asks for the list of handles first, because the TSS logs an error for reading an object that does not exist.
    pub(super) fn persistent(
        &mut self,
        handle: PersistentHandle,
    ) -> Result<Option<ObjectHandle>, TpmError> {
        let (handles, _) = self.plain("TPM2_GetCapability", |context| {
            context.get_capability(CapabilityType::Handles, handle.value(), 1)
        })?;
        let exists = match handles {
            CapabilityData::Handles(handles) => {
                handles.first().map(|first| u32::from(*first)) == Some(handle.value())
            }
            _ => false,
        };
        if !exists {
            return Ok(None);
        }
        self.plain("TPM2_ReadPublic", |context| {
            context.tr_from_tpm_public(TpmHandle::Persistent(handle.to_tss()))
        })
        .map(Some)
    }

    /// The public area of an object.
    pub(super) fn public(&mut self, object: ObjectHandle) -> Result<Public, TpmError> {
        self.plain("TPM2_ReadPublic", |context| {
            context.read_public(KeyHandle::from(object))
        })
        .map(|(public, ..)| public)
    }

    /// The `TPM2B_PUBLIC` of an object.
    pub(super) fn public_bytes(&mut self, object: ObjectHandle) -> Result<Vec<u8>, TpmError> {
        let area = self
            .public(object)?
            .marshall()
            .map_err(|error| TpmError::new("TPM2_ReadPublic", error))?;
        let length = u16::try_from(area.len())
            .map_err(|_| TpmError::refused("the public area of the key is larger than 64 KiB"))?;
        Ok([&length.to_be_bytes()[..], &area].concat())
    }

    /// Stores a loaded object at a free handle, or removes the object that is stored there.
    pub(super) fn evict_control(
        &mut self,
        object: ObjectHandle,
        handle: PersistentHandle,
    ) -> Result<(), TpmError> {
        self.authorized("TPM2_EvictControl", |context| {
            context.evict_control(
                Provision::Owner,
                object,
                Persistent::Persistent(handle.to_tss()),
            )
        })
        .map(drop)
    }
}
