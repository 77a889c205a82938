//! A key pair in the TPM for X.509 attestation. The private key never leaves the TPM.

use std::fmt;
use std::sync::Arc;

use dps_tls::read_chain;
use dps_types::RegistrationId;
use tracing::debug;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::handles::ObjectHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::structures::{
    Auth, Digest, EccPoint, EccScheme, KeyDerivationFunctionScheme, Public, PublicBuilder,
    PublicEccParameters, PublicKeyRsa, PublicRsaParameters, RsaExponent, RsaScheme,
    SymmetricDefinitionObject,
};

use super::auth_value::KeyAuth;
use super::connection::Connection;
use super::error::TpmError;
use super::handle::Tpm;
use super::keys;
use super::options::PersistentHandle;
use super::policy::PcrPolicy;
use super::stored_chain::StoredChain;
use super::tls_key::{Access, TlsKey};
use crate::attestation::ClientIdentity;
use crate::attestation::device_key::{self, DeviceKey};
use crate::attestation::key_kind::KeyKind;
use crate::error::Error;

/// A key pair in a TPM, for X.509 attestation. The private key signs inside the TPM.
///
/// ```no_run
/// # async fn provision(chain: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_device::X509Attestation;
/// use dps_device::tpm::{KeyKind, Tpm, TpmOptions};
///
/// let tpm = Tpm::open(TpmOptions::default()).await?;
/// // Once, in the factory. Send the request to the certification authority.
/// let key = tpm.key_pair().create(KeyKind::P256).await?;
/// let request = key.certificate_request(&"toaster-0815".parse()?).await?;
/// // At every start, with the chain that the authority has returned.
/// let key = tpm.key_pair().open().await?;
/// let who = X509Attestation::new(key.identity(chain)?)?;
/// # Ok(())
/// # }
/// ```
///
/// It signs once in each TLS handshake, with TLS 1.2 and 1.3. The thread that drives the connection is blocked meanwhile, because
/// signing in rustls is synchronous: for tens of milliseconds with an elliptic curve and hundreds with RSA, plus the time that
/// other uses of this [`Tpm`] need before it. [`TpmOptions::with_timeout`](super::TpmOptions::with_timeout) limits the wait.
#[derive(Clone)]
pub struct TpmKeyPair {
    key: Arc<TlsKey>,
}

impl TpmKeyPair {
    /// The SubjectPublicKeyInfo of the public key (RFC 5280), DER.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    /// Creates a certificate signing request (PKCS#10, PEM). The common name of its subject is the registration id.
    ///
    /// # Errors
    /// [`Signing`](crate::ErrorKind::Signing) if the TPM cannot sign, or does not sign in time.
    pub async fn certificate_request(
        &self,
        registration_id: &RegistrationId,
    ) -> Result<String, Error> {
        let (key, registration_id) = (self.key.clone(), registration_id.clone());
        let request = move |_: &Tpm| device_key::certificate_request(&*key, &registration_id);
        let created = self.key.tpm().on_blocking_thread(request).await;
        // A late request has the kind of a late signature.
        created.map_err(|error| {
            let what = "the certificate signing request cannot be created";
            Error::new(crate::ErrorKind::Signing, what).with_source(error)
        })?
    }

    /// The device's identity: this key with its certificate chain (PEM or DER, the leaf first).
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the chain cannot be read, or the leaf has another public
    /// key.
    pub fn identity(&self, chain: impl AsRef<[u8]>) -> Result<ClientIdentity, Error> {
        let chain = read_chain(chain.as_ref()).map_err(|error| {
            Error::configuration("the device's certificate chain cannot be read").with_source(error)
        })?;
        device_key::identity(chain, self.key.clone())
    }

    /// The device's identity: this key with the certificate chain that the TPM stores.
    ///
    /// # Errors
    /// As [`StoredChain::read`], and [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the leaf has another public
    /// key.
    pub async fn stored_identity(&self, chain: &StoredChain) -> Result<ClientIdentity, Error> {
        device_key::identity(chain.read().await?, self.key.clone())
    }

    #[cfg(feature = "certificates")]
    pub(crate) fn device_key(&self) -> Arc<dyn DeviceKey> {
        self.key.clone()
    }
}

impl fmt::Debug for TpmKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TpmKeyPair").field(&self.key).finish()
    }
}

/// The handle of a [`TpmKeyPair`] and its authorization value, to create it or to open it. [`Tpm::key_pair`] returns it.
#[derive(Clone)]
pub struct KeyPairOptions {
    tpm: Tpm,
    handle: PersistentHandle,
    access: Access,
}

impl Tpm {
    /// A key pair for X.509 attestation, to be created or opened.
    pub fn key_pair(&self) -> KeyPairOptions {
        KeyPairOptions {
            tpm: self.clone(),
            handle: PersistentHandle::KEY_PAIR,
            access: Access::default(),
        }
    }
}

impl KeyPairOptions {
    /// Sets the handle. The default is [`PersistentHandle::KEY_PAIR`].
    #[must_use]
    pub fn with_handle(mut self, handle: PersistentHandle) -> Self {
        self.handle = handle;
        self
    }

    /// Sets the authorization value of the key. The default is empty.
    ///
    /// A key that is created with a value is protected against guessing: the TPM locks after several wrong values.
    #[must_use]
    pub fn with_auth(mut self, value: KeyAuth) -> Self {
        self.access.auth = value;
        self
    }

    /// Sets the policy of the key: the TPM signs only in a measured state that it allows. A key that was created with a policy must be
    /// opened with the same policy, with the current approvals. By default the key has no policy.
    ///
    /// In another state, opening and signing fail with a [`TpmError`] whose [`TpmError::changed_pcrs`] names the PCRs.
    #[must_use]
    pub fn with_pcr_policy(mut self, policy: PcrPolicy) -> Self {
        self.access.policy = Some(policy);
        self
    }

    /// Creates a key pair under the storage root key and stores it at the handle, which must be free.
    ///
    /// Creates the storage root key if the TPM has none.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the handle is in use, the owner's authorization value is
    /// wrong, the TPM has no space left, or it does not support this kind of key. [`Signing`](crate::ErrorKind::Signing) if the TPM
    /// fails, or the policy does not allow the current state. The source is a [`TpmError`].
    pub async fn create(self, kind: KeyKind) -> Result<TpmKeyPair, Error> {
        self.open_after(move |connection, handle, access| {
            check_free(connection, handle)?;
            create(connection, handle, access, kind, None)
        })
        .await
        .map_err(|error| error.into_error("the key pair cannot be created"))
    }

    /// Creates a key pair as [`create`](Self::create) does, in place of the key pair at the handle, if there is one.
    ///
    /// The new key is created before the previous one is removed: a TPM that does not support the kind, or has no memory for a key, keeps
    /// the previous one. A power failure leaves the previous key, the new one, or none. An object that is not a key pair is not replaced.
    ///
    /// # Errors
    /// See [`create`](Self::create).
    pub async fn replace(self, kind: KeyKind) -> Result<TpmKeyPair, Error> {
        self.open_after(move |connection, handle, access| {
            let previous = key_pair_at(connection, handle)?;
            create(connection, handle, access, kind, previous)
        })
        .await
        .map_err(|error| error.into_error("the key pair cannot be replaced"))
    }

    /// Opens the key pair at the handle, which may have been created by another program.
    ///
    /// The key signs once, so that an unsuitable key or a wrong authorization value is found here.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if there is no key at the handle, the key is not suitable
    /// for TLS, or the authorization value is wrong. [`Signing`](crate::ErrorKind::Signing) if the TPM fails. The source is a
    /// [`TpmError`].
    pub async fn open(self) -> Result<TpmKeyPair, Error> {
        self.open_after(|_, _, _| Ok(()))
            .await
            .map_err(|error| error.into_error("the key pair cannot be used"))
    }

    /// Removes the key pair at the handle. A handle without a key is not an error.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the owner's authorization value is wrong, or the object at the
    /// handle is not a key pair, such as the storage root key.
    /// [`Signing`](crate::ErrorKind::Signing) if the TPM fails. The source is a [`TpmError`].
    pub async fn remove(self) -> Result<(), Error> {
        let Self { tpm, handle, .. } = self;
        let removed = tpm.run(move |connection| match key_pair_at(connection, handle)? {
            Some(key) => connection.evict_control(key, handle),
            None => Ok(()),
        });
        removed
            .await
            .map_err(|error| error.into_error("the key pair cannot be removed"))
    }

    async fn open_after(
        self,
        prepare: impl FnOnce(&mut Connection<'_>, PersistentHandle, &Access) -> Result<(), TpmError>
        + Send
        + 'static,
    ) -> Result<TpmKeyPair, TpmError> {
        let Self {
            tpm,
            handle,
            access,
        } = self;
        let owner = tpm.clone();
        let key = tpm
            .run(move |connection| {
                prepare(connection, handle, &access)?;
                TlsKey::open(owner, connection, handle, access)
            })
            .await?;
        Ok(TpmKeyPair { key: Arc::new(key) })
    }
}

impl fmt::Debug for KeyPairOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPairOptions")
            .field("tpm", &self.tpm)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

fn check_free(connection: &mut Connection<'_>, handle: PersistentHandle) -> Result<(), TpmError> {
    match connection.persistent(handle)? {
        None => Ok(()),
        Some(_) => Err(TpmError::configuration(format!(
            "the TPM already has an object at {handle}, which is not replaced: open it, or choose another handle"
        ))),
    }
}

/// The key pair at a handle. `None` if the handle is not in use.
fn key_pair_at(
    connection: &mut Connection<'_>,
    handle: PersistentHandle,
) -> Result<Option<ObjectHandle>, TpmError> {
    let Some(object) = connection.persistent(handle)? else {
        return Ok(None);
    };
    match is_key_pair(&connection.public(object)?) {
        true => Ok(Some(object)),
        false => Err(TpmError::configuration(format!(
            "the object at {handle} is not a key pair that signs, so it is neither replaced nor removed: choose another handle"
        ))),
    }
}

/// True for an asymmetric key that signs any data. The storage root key and the endorsement key do not.
pub(super) fn is_key_pair(object: &Public) -> bool {
    // The key for the hub signs as well, but it is symmetric.
    let is_pair = matches!(object, Public::Ecc { .. } | Public::Rsa { .. });
    let attributes = object.object_attributes();
    is_pair && attributes.sign_encrypt() && !attributes.restricted()
}

/// Creates the key, and stores it in place of the previous one.
fn create(
    connection: &mut Connection<'_>,
    handle: PersistentHandle,
    access: &Access,
    kind: KeyKind,
    previous: Option<ObjectHandle>,
) -> Result<(), TpmError> {
    if let Some(policy) = &access.policy {
        policy.check(connection)?;
    }
    let policy = access.policy_digest()?;
    keys::storage_root_key(connection)?;
    let parent = keys::stored(connection, connection.options.storage_root_key)?;
    let created = connection.authorized("TPM2_Create", |context| {
        let auth_value = Auth::try_from(access.auth.as_bytes())?;
        let public = template(kind, access.auth.is_empty(), &policy)?;
        context.create(parent, public, Some(auth_value), None, None, None)
    })?;
    let key = connection
        .authorized("TPM2_Load", |context| {
            context.load(parent, created.out_private, created.out_public)
        })?
        .into();
    connection.flushing(key, |connection| {
        if let Some(previous) = previous {
            connection.evict_control(previous, handle)?;
        }
        connection.evict_control(key, handle)
    })?;
    debug!(%handle, ?kind, "a key pair was created");
    Ok(())
}

/// An unrestricted signing key. The scheme is chosen at each signature. A key with a policy is used with the policy only.
fn template(kind: KeyKind, has_no_auth: bool, policy: &[u8]) -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(policy.is_empty())
        .with_sign_encrypt(true)
        // A key without a value cannot be guessed, so the lockout that guesses at other keys cause must not apply to it.
        .with_no_da(has_no_auth)
        .build()?;
    let builder = PublicBuilder::new()
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(Digest::try_from(policy)?);
    let curve = match kind {
        KeyKind::P256 => EccCurve::NistP256,
        KeyKind::P384 => EccCurve::NistP384,
        KeyKind::Rsa2048 => return rsa(builder, RsaKeyBits::Rsa2048),
        KeyKind::Rsa3072 => return rsa(builder, RsaKeyBits::Rsa3072),
        KeyKind::Rsa4096 => return rsa(builder, RsaKeyBits::Rsa4096),
    };
    builder
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_ecc_parameters(PublicEccParameters::new(
            SymmetricDefinitionObject::Null,
            EccScheme::Null,
            curve,
            KeyDerivationFunctionScheme::Null,
        ))
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

fn rsa(builder: PublicBuilder, bits: RsaKeyBits) -> tss_esapi::Result<Public> {
    builder
        .with_public_algorithm(PublicAlgorithm::Rsa)
        .with_rsa_parameters(PublicRsaParameters::new(
            SymmetricDefinitionObject::Null,
            RsaScheme::Null,
            bits,
            RsaExponent::default(),
        ))
        .with_rsa_unique_identifier(PublicKeyRsa::default())
        .build()
}
