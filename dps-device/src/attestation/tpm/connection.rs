//! One use of the TPM: connect, do some commands, leave nothing behind.

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
/// What is loaded is flushed as soon as it is not needed ([`flushing`](Self::flushing)). What a panic leaves is flushed
/// when the [`Context`] is dropped, which keeps count. A connection for each use also means that a TPM that was restarted
/// is found again, and that a TPM without a resource manager is free for others in between.
pub(super) struct Connection<'a> {
    context: Context,
    pub(super) options: &'a TpmOptions,
}

impl<'a> Connection<'a> {
    pub(super) fn open(options: &'a TpmOptions) -> Result<Self, TpmError> {
        let context =
            Context::new(options.tcti.name()).map_err(|error| match options.tcti.fault() {
                Some(fault) => TpmError::configuration(fault),
                None => TpmError::new("connecting", error),
            })?;
        let mut connection = Self { context, options };
        connection.authorize(ObjectHandle::Owner, &options.owner)?;
        connection.authorize(ObjectHandle::Endorsement, &options.endorsement)?;
        Ok(connection)
    }

    /// A command that needs no authorization.
    pub(super) fn plain<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        self.context
            .execute_without_session(run)
            .map_err(|error| TpmError::new(command, error))
    }

    /// A command that one authorization value allows: that of the first handle.
    pub(super) fn authorized<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        self.context
            .execute_with_session(Some(AuthSession::Password), run)
            .map_err(|error| TpmError::new(command, error))
    }

    /// A command that needs the storage root key's authorization and the endorsement key's, whose policy asks for the
    /// secret of the endorsement hierarchy.
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
            .ok_or_else(|| TpmError::refused("the TPM has started no session"))?;
        self.flushing(SessionHandle::from(session).into(), |connection| {
            // Else the TPM itself would end it after a success, and only then.
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

    /// Uses an object or a session, and flushes it, whatever the end.
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

    /// Says what opens an object.
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

    /// The object at a place, when there is one.
    ///
    /// The list of handles is asked first: to read an object that is not there makes the TSS log an error.
    pub(super) fn persistent(
        &mut self,
        place: PersistentHandle,
    ) -> Result<Option<ObjectHandle>, TpmError> {
        let (handles, _) = self.plain("TPM2_GetCapability", |context| {
            context.get_capability(CapabilityType::Handles, place.value(), 1)
        })?;
        let there = match handles {
            CapabilityData::Handles(handles) => {
                handles.first().map(|handle| u32::from(*handle)) == Some(place.value())
            }
            _ => false,
        };
        if !there {
            return Ok(None);
        }
        self.plain("TPM2_ReadPublic", |context| {
            context.tr_from_tpm_public(TpmHandle::Persistent(place.to_tss()))
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
            .map_err(|_| TpmError::refused("the TPM has a key that is too large"))?;
        Ok([&length.to_be_bytes()[..], &area].concat())
    }

    /// Keeps a loaded object at a place that is free, or frees the place of the object that is there.
    pub(super) fn evict_control(
        &mut self,
        object: ObjectHandle,
        place: PersistentHandle,
    ) -> Result<(), TpmError> {
        self.authorized("TPM2_EvictControl", |context| {
            context.evict_control(
                Provision::Owner,
                object,
                Persistent::Persistent(place.to_tss()),
            )
        })
        .map(drop)
    }
}
