//! A key pair in the TPM for X.509 attestation. The private key never leaves the TPM.

use std::fmt;
use std::sync::Arc;

use dps_tls::read_chain;
use dps_types::RegistrationId;
use tracing::debug;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::structures::{
    Auth, EccPoint, EccScheme, KeyDerivationFunctionScheme, Public, PublicBuilder,
    PublicEccParameters, PublicKeyRsa, PublicRsaParameters, RsaExponent, RsaScheme,
    SymmetricDefinitionObject,
};

use super::connection::Connection;
use super::error::TpmError;
use super::handle::Tpm;
use super::keys;
use super::options::{AuthValue, PersistentHandle};
use super::tls_key::TlsKey;
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
        created.map_err(|error| {
            error.into_error("the certificate signing request cannot be created")
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
    auth: AuthValue,
}

impl Tpm {
    /// A key pair for X.509 attestation, to be created or opened.
    pub fn key_pair(&self) -> KeyPairOptions {
        KeyPairOptions {
            tpm: self.clone(),
            handle: PersistentHandle::KEY_PAIR,
            auth: AuthValue::default(),
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
    pub fn with_auth(mut self, value: impl AsRef<[u8]>) -> Self {
        self.auth = AuthValue::new(value);
        self
    }

    /// Creates a key pair under the storage root key and stores it at the handle, which must be free.
    ///
    /// Creates the storage root key if the TPM has none.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the handle is in use, the owner's authorization value is
    /// wrong, the TPM has no space left, or it does not support this kind of key. [`Signing`](crate::ErrorKind::Signing) if the TPM
    /// fails. The source is a [`TpmError`].
    pub async fn create(self, kind: KeyKind) -> Result<TpmKeyPair, Error> {
        self.open_after(move |connection, handle, auth| create(connection, handle, auth, kind))
            .await
            .map_err(|error| error.into_error("the key pair cannot be created"))
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
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the owner's authorization value is wrong.
    /// [`Signing`](crate::ErrorKind::Signing) if the TPM fails. The source is a [`TpmError`].
    pub async fn remove(self) -> Result<(), Error> {
        let Self { tpm, handle, .. } = self;
        let removed = tpm.run(move |connection| match connection.persistent(handle)? {
            Some(key) => connection.evict_control(key, handle),
            None => Ok(()),
        });
        removed
            .await
            .map_err(|error| error.into_error("the key pair cannot be removed"))
    }

    async fn open_after(
        self,
        prepare: impl FnOnce(&mut Connection<'_>, PersistentHandle, &AuthValue) -> Result<(), TpmError>
        + Send
        + 'static,
    ) -> Result<TpmKeyPair, TpmError> {
        let Self { tpm, handle, auth } = self;
        let owner = tpm.clone();
        let key = tpm
            .run(move |connection| {
                prepare(connection, handle, &auth)?;
                TlsKey::open(owner, connection, handle, auth)
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

fn create(
    connection: &mut Connection<'_>,
    handle: PersistentHandle,
    auth: &AuthValue,
    kind: KeyKind,
) -> Result<(), TpmError> {
    if connection.persistent(handle)?.is_some() {
        return Err(TpmError::configuration(format!(
            "the TPM already has an object at {handle}, which is not replaced: open it, or choose another handle"
        )));
    }
    keys::storage_root_key(connection)?;
    let parent = keys::stored(connection, connection.options.storage_root_key)?;
    let created = connection.authorized("TPM2_Create", |context| {
        let auth_value = Auth::try_from(auth.as_bytes())?;
        let public = template(kind, auth.is_empty())?;
        context.create(parent, public, Some(auth_value), None, None, None)
    })?;
    let key = connection
        .authorized("TPM2_Load", |context| {
            context.load(parent, created.out_private, created.out_public)
        })?
        .into();
    connection.flushing(key, |connection| connection.evict_control(key, handle))?;
    debug!(%handle, ?kind, "a key pair was created");
    Ok(())
}

/// An unrestricted signing key. The scheme is chosen at each signature.
fn template(kind: KeyKind, has_no_auth: bool) -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_sign_encrypt(true)
        // A key without a value cannot be guessed, so the lockout that guesses at other keys cause must not apply to it.
        .with_no_da(has_no_auth)
        .build()?;
    let builder = PublicBuilder::new()
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes);
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
