//! The session of a connection: it authorizes commands without sending authorization values, detects changed commands and responses,
//! and encrypts the parameters.
//!
//! Sources: TCG, *TPM Library*, part 1, chapters 19 (authorizations) and 21 (session-based encryption); part 3, the parameters of
//! each command.

use tracing::debug;
use tss_esapi::attributes::{ObjectAttributesBuilder, SessionAttributesBuilder};
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    EccPoint, EccScheme, KeyDerivationFunctionScheme, Public, PublicBuilder, PublicEccParameters,
    SymmetricDefinition, SymmetricDefinitionObject,
};

use super::connection::Connection;
use super::error::TpmError;
use super::options::PersistentHandle;

const START: &str = "TPM2_StartAuthSession";

impl Connection<'_> {
    /// The session for a command. The first use starts it.
    pub(super) fn session(&mut self, command: &'static str) -> Result<AuthSession, TpmError> {
        if !self.options.encrypts {
            self.compare_once()?;
            return Ok(AuthSession::Password);
        }
        let session = match self.session {
            Some(session) => session,
            None => {
                let session = self.salted_session(SessionType::Hmac)?;
                self.session = Some(session);
                session
            }
        };
        let encrypted = Encrypted::of(command);
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(encrypted.command)
            .with_encrypt(encrypted.response)
            // A session that neither authorizes nor encrypts has to audit.
            .with_audit(command == "TPM2_PCR_Read")
            .build();
        self.plain(START, |context| {
            context.tr_sess_set_attributes(session, attributes, mask)
        })?;
        Ok(session)
    }

    /// Ends the session. The next command that requires one starts another, whose salt may be encrypted to a better key.
    pub(super) fn end_session(&mut self) -> Result<(), TpmError> {
        match self.session.take() {
            Some(session) => self.plain("TPM2_FlushContext", |context| {
                context.flush_context(SessionHandle::from(session).into())
            }),
            None => Ok(()),
        }
    }

    /// Runs work with a policy session, and ends it. With `salted`, an authorization value that the policy requires cannot be
    /// guessed from what is transmitted.
    pub(super) fn with_policy_session<T>(
        &mut self,
        salted: bool,
        run: impl FnOnce(&mut Self, AuthSession) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let session = match salted && self.options.encrypts {
            true => self.salted_session(SessionType::Policy)?,
            false => started(self, None, SessionType::Policy)?,
        };
        self.flushing(SessionHandle::from(session).into(), |connection| {
            // Without this attribute the TPM would end the session itself after a success, but not after a failure.
            let (attributes, mask) = SessionAttributesBuilder::new()
                .with_continue_session(true)
                .build();
            connection.plain(START, |context| {
                context.tr_sess_set_attributes(session, attributes, mask)
            })?;
            run(connection, session)
        })
    }

    /// Starts the session in which the expected endorsement key is created: the salt cannot be encrypted to that key yet.
    pub(super) fn start_before_creation(&mut self) -> Result<(), TpmError> {
        if self.recognizes_tpm() {
            self.end_session()?;
            let key = temporary_key(self)?;
            self.session = Some(self.salted_to(key, SessionType::Hmac)?);
        }
        // Without a session, the key is compared after its creation.
        self.is_compared = true;
        Ok(())
    }

    /// Compares the endorsement key with the expected one, before the first command of a connection without a session that uses a key.
    fn compare_once(&mut self) -> Result<(), TpmError> {
        if !self.is_compared && self.options.expected_endorsement_key.is_some() {
            expected_key(self)?;
        }
        self.is_compared = true;
        Ok(())
    }

    /// Compares a created endorsement key with the expected one, and starts a session whose salt is encrypted to it, so that no other
    /// authorization value depends on the session of the creation.
    pub(super) fn start_after_creation(&mut self, key: ObjectHandle) -> Result<(), TpmError> {
        check_endorsement_key(self, key)?;
        if self.recognizes_tpm() {
            self.end_session()?;
            let key = SaltKey::Kept(key.into());
            self.session = Some(self.salted_to(key, SessionType::Hmac)?);
        }
        Ok(())
    }

    /// Returns true if the session is bound to the expected endorsement key.
    fn recognizes_tpm(&self) -> bool {
        self.options.encrypts && self.options.expected_endorsement_key.is_some()
    }

    /// Starts a session whose salt only the owner of a key can read.
    fn salted_session(&mut self, kind: SessionType) -> Result<AuthSession, TpmError> {
        let key = salt_key(self)?;
        self.salted_to(key, kind)
    }

    fn salted_to(&mut self, key: SaltKey, kind: SessionType) -> Result<AuthSession, TpmError> {
        match key {
            SaltKey::Kept(key) => started(self, Some(key), kind),
            SaltKey::Temporary(key) => self.flushing(key.into(), |connection| {
                started(connection, Some(key), kind)
            }),
        }
    }
}

/// Checks a key that the TPM presents as its endorsement key against the expected one, if the options have one.
///
/// libtss2 computes the name from the public area that it encrypts the salt to (`Esys_TR_GetName`), so the name that the TPM reports
/// does not matter.
pub(super) fn check_endorsement_key(
    connection: &mut Connection<'_>,
    key: ObjectHandle,
) -> Result<(), TpmError> {
    let Some(expected) = &connection.options.expected_endorsement_key else {
        return Ok(());
    };
    let expected = expected.name();
    let name = connection.plain("TPM2_ReadPublic", |context| context.tr_get_name(key))?;
    match name.value() == expected {
        true => Ok(()),
        false => Err(TpmError::configuration(format!(
            "the TPM presents another endorsement key at {} than the expected one: this is another TPM, or a device on its bus \
             pretends to be the TPM; if the TPM was replaced, configure its endorsement key; if the key was just created, select the \
             template of the expected key (TpmOptions::with_endorsement_template)",
            connection.options.endorsement_key
        ))),
    }
}

fn started(
    connection: &mut Connection<'_>,
    salt_key: Option<KeyHandle>,
    kind: SessionType,
) -> Result<AuthSession, TpmError> {
    let symmetric = match kind {
        SessionType::Hmac => SymmetricDefinition::AES_128_CFB,
        _ => SymmetricDefinition::Null,
    };
    connection
        .plain(START, |context| {
            context.start_auth_session(
                salt_key,
                None,
                None,
                kind,
                symmetric,
                HashingAlgorithm::Sha256,
            )
        })?
        .ok_or_else(|| TpmError::refused("the TPM did not start a session"))
}

/// The key that encrypts the salt of a session.
enum SaltKey {
    /// A key that stays in the TPM.
    Kept(KeyHandle),
    /// A key of this start of the TPM, for a TPM without keys. Its creation requires no authorization value.
    Temporary(KeyHandle),
}

/// Chooses the endorsement key if one is expected, because only that key can be recognized. Otherwise the storage root key or the
/// endorsement key, whichever the TPM has.
///
/// An expected key that is missing is an error, because the list of handles is not authenticated: a device on the bus could hide the key.
fn salt_key(connection: &mut Connection<'_>) -> Result<SaltKey, TpmError> {
    let options = connection.options;
    let (endorsement, storage) = (options.endorsement_key, options.storage_root_key);
    if options.expected_endorsement_key.is_some() {
        return expected_key(connection).map(|key| SaltKey::Kept(key.into()));
    }
    for handle in [storage, endorsement] {
        if let Some(key) = parent_at(connection, handle)? {
            return Ok(SaltKey::Kept(key));
        }
    }
    temporary_key(connection)
}

/// The endorsement key of the TPM, which is the expected one.
fn expected_key(connection: &mut Connection<'_>) -> Result<ObjectHandle, TpmError> {
    let handle = connection.options.endorsement_key;
    let Some(key) = connection.persistent(handle)? else {
        return Err(TpmError::configuration(format!(
            "the TPM presents no endorsement key at {handle} to compare with the expected one: if the TPM is new or was cleared, create \
             the key first (TpmAttestation::new); otherwise a device on its bus hides the key"
        )));
    };
    check_endorsement_key(connection, key)?;
    Ok(key)
}

fn temporary_key(connection: &mut Connection<'_>) -> Result<SaltKey, TpmError> {
    debug!("the TPM has no key for sessions yet");
    // The value of the null hierarchy is always empty.
    let password = (Some(AuthSession::Password), None, None);
    let created = connection.with_sessions("TPM2_CreatePrimary", password, |context| {
        context.create_primary(Hierarchy::Null, temporary()?, None, None, None, None)
    })?;
    Ok(SaltKey::Temporary(created.key_handle))
}

/// The key at a handle that can decrypt a salt. `None` if there is no such key, which is reported when the key itself is used.
fn parent_at(
    connection: &mut Connection<'_>,
    handle: PersistentHandle,
) -> Result<Option<KeyHandle>, TpmError> {
    let Some(object) = connection.persistent(handle)? else {
        return Ok(None);
    };
    let (public, ..) = connection.plain("TPM2_ReadPublic", |context| {
        context.read_public(KeyHandle::from(object))
    })?;
    let attributes = public.object_attributes();
    let suitable = attributes.decrypt() && attributes.restricted() && !attributes.sign_encrypt();
    let asymmetric = matches!(public, Public::Rsa { .. } | Public::Ecc { .. });
    Ok((suitable && asymmetric).then(|| object.into()))
}

/// A key on an elliptic curve, because TPMs generate it in milliseconds.
fn temporary() -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(PublicEccParameters::new(
            SymmetricDefinitionObject::AES_128_CFB,
            EccScheme::Null,
            EccCurve::NistP256,
            KeyDerivationFunctionScheme::Null,
        ))
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

/// Which parameters of a command can be encrypted: the first one of the command and the first one of the response, if they have a
/// size field.
struct Encrypted {
    command: bool,
    response: bool,
}

impl Encrypted {
    /// A command that is not listed encrypts both: libtss2 reports an error if it cannot, so no parameter is left readable by mistake.
    fn of(command: &str) -> Self {
        let (command, response) = match command {
            "TPM2_EvictControl" | "TPM2_NV_UndefineSpace" | "TPM2_PCR_Read" => (false, false),
            "TPM2_ReadPublic" | "TPM2_NV_Read" | "TPM2_NV_ReadPublic" => (false, true),
            "TPM2_Sign" | "TPM2_NV_Write" | "TPM2_NV_DefineSpace" => (true, false),
            _ => (true, true),
        };
        Self { command, response }
    }
}
