//! A connection to the TPM for one use: it runs commands and leaves nothing loaded.

use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{AuthHandle, KeyHandle, ObjectHandle, TpmHandle};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::Provision;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Auth, CapabilityData, Digest, Nonce, Public};
use tss_esapi::traits::Marshall;
use tss_esapi::{Context, Result as TssResult};

use super::auth_value::AuthValue;
use super::error::TpmError;
use super::options::{PersistentHandle, TpmOptions};
use super::response_code::CONNECTING;

/// The sessions of a command, in the order of its handles.
pub(super) type Sessions = (
    Option<AuthSession>,
    Option<AuthSession>,
    Option<AuthSession>,
);

/// A connection to the TPM for one use.
///
/// Loaded objects are flushed as soon as they are no longer needed ([`flushing`](Self::flushing)). After a panic the [`Context`]
/// flushes them when it is dropped, as it does with the session. A new connection for each use also means that a TPM works again after a restart, and that
/// other programs can use a TPM without a resource manager in between.
pub(super) struct Connection<'a> {
    context: Context,
    pub(super) options: &'a TpmOptions,
    /// The session of [`session`](Self::session), once it was started.
    pub(super) session: Option<AuthSession>,
    /// The endorsement key was compared with the expected one, in a connection without a session.
    pub(super) is_compared: bool,
}

impl<'a> Connection<'a> {
    pub(super) fn open(options: &'a TpmOptions) -> Result<Self, TpmError> {
        let context = Context::new(options.tcti.name()).map_err(|error| {
            match options.tcti.device_error() {
                Some(reason) => reason,
                None => TpmError::new(CONNECTING, error),
            }
        })?;
        let mut connection = Self {
            context,
            options,
            session: None,
            is_compared: false,
        };
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

    /// Runs a command with the authorization value of its first handle, in the session of this connection.
    pub(super) fn authorized<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        let session = self.session(command)?;
        self.with_sessions(command, (Some(session), None, None), run)
    }

    /// Runs a command that needs no authorization, in the session of this connection, which detects a changed response.
    pub(super) fn checked<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        match self.session(command)? {
            AuthSession::Password => self.plain(command, run),
            session => self.with_sessions(command, (Some(session), None, None), run),
        }
    }

    pub(super) fn with_sessions<T>(
        &mut self,
        command: &'static str,
        sessions: Sessions,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        self.context
            .execute_with_sessions(sessions, run)
            .map_err(|error| TpmError::new(command, error))
    }

    /// Runs a command with the authorizations of the storage root key and of the endorsement key. The policy of the latter
    /// requires the authorization value of the endorsement hierarchy.
    pub(super) fn endorsed<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        self.with_policy_session(false, |connection, session| {
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
            let authorization = connection.session(command)?;
            connection.with_sessions(command, (Some(authorization), Some(session), None), run)
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
    pub(super) fn authorize<const MAX: usize>(
        &mut self,
        object: ObjectHandle,
        value: &AuthValue<MAX>,
    ) -> Result<(), TpmError> {
        if value.is_empty() {
            return Ok(());
        }
        self.plain("authorizing", |context| {
            context.tr_set_auth(object, Auth::try_from(value.as_bytes())?)
        })
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
        self.checked("TPM2_ReadPublic", |context| {
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
