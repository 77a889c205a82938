//! A key pair for X.509 that never leaves the TPM.

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

/// A key pair in a TPM, for X.509 attestation: the certificate may be anyone's to see, the private key signs inside the
/// TPM.
///
/// ```no_run
/// # async fn provision(chain: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_device::X509Attestation;
/// use dps_device::tpm::{KeyKind, Tpm, TpmOptions};
///
/// let tpm = Tpm::open(TpmOptions::default()).await?;
/// // Once, in the factory: the request goes to the certification authority.
/// let key = tpm.key_pair().create(KeyKind::P256).await?;
/// let request = key.certificate_request(&"toaster-0815".parse()?).await?;
/// // Ever after, with the chain that came back.
/// let key = tpm.key_pair().open().await?;
/// let who = X509Attestation::new(key.identity(chain)?)?;
/// # Ok(())
/// # }
/// ```
///
/// It signs once in each TLS handshake, 1.2 and 1.3 alike, and the thread that drives the connection waits for it: rustls
/// wants it so. That takes tens of milliseconds with an elliptic curve and hundreds with RSA, and as long as other uses of
/// this [`Tpm`] take before it, but no longer than [`TpmOptions::with_timeout`](super::TpmOptions::with_timeout) says.
#[derive(Clone)]
pub struct TpmKeyPair {
    key: Arc<TlsKey>,
}

impl TpmKeyPair {
    /// The SubjectPublicKeyInfo of the public key (RFC 5280), DER.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    /// A certificate signing request (PKCS#10, PEM) whose subject's common name is the registration id.
    ///
    /// # Errors
    /// [`Signing`](crate::ErrorKind::Signing) when the TPM does not sign, or not in time.
    pub async fn certificate_request(
        &self,
        registration_id: &RegistrationId,
    ) -> Result<String, Error> {
        let (key, registration_id) = (self.key.clone(), registration_id.clone());
        let request = move |_: &Tpm| device_key::certificate_request(&*key, &registration_id);
        let made = self.key.tpm().aside(request).await;
        made.map_err(|error| error.into_error("the certificate signing request cannot be made"))?
    }

    /// The device's identity: the chain (PEM or DER), the leaf first, and this key.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the chain is malformed or its leaf has another
    /// public key.
    pub fn identity(&self, chain: impl AsRef<[u8]>) -> Result<ClientIdentity, Error> {
        let chain = read_chain(chain.as_ref()).map_err(|error| {
            Error::configuration("the device's certificate chain cannot be used").with_source(error)
        })?;
        device_key::identity(chain, self.key.clone())
    }
}

impl fmt::Debug for TpmKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TpmKeyPair").field(&self.key).finish()
    }
}

/// Where a [`TpmKeyPair`] is or will be, and what opens it. It comes from [`Tpm::key_pair`].
#[derive(Clone)]
pub struct KeyPairOptions {
    tpm: Tpm,
    place: PersistentHandle,
    auth: AuthValue,
}

impl KeyPairOptions {
    pub(super) fn new(tpm: Tpm) -> Self {
        Self {
            tpm,
            place: PersistentHandle::KEY_PAIR,
            auth: AuthValue::default(),
        }
    }

    /// The place. The default is [`PersistentHandle::KEY_PAIR`].
    #[must_use]
    pub fn with_handle(mut self, place: PersistentHandle) -> Self {
        self.place = place;
        self
    }

    /// The authorization value of the key. The default is the empty one.
    ///
    /// A key that is made with one is protected against guessing: the TPM locks after some wrong values.
    #[must_use]
    pub fn with_auth(mut self, value: impl AsRef<[u8]>) -> Self {
        self.auth = AuthValue::new(value);
        self
    }

    /// Makes a key pair below the storage root key, and keeps it at the place, which must be free.
    ///
    /// The storage root key is made where there is none.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the place is taken, the owner's authorization
    /// value is wrong, there is no room or the TPM has no such keys, [`Signing`](crate::ErrorKind::Signing) when the TPM does not work. The source
    /// is a [`TpmError`].
    pub async fn create(self, kind: KeyKind) -> Result<TpmKeyPair, Error> {
        self.pair(move |connection, place, auth| make(connection, place, auth, kind))
            .await
            .map_err(|error| error.into_error("the key pair cannot be made"))
    }

    /// The key pair that is kept at the place, whoever made it.
    ///
    /// It signs once now, so that a key or an authorization value that does not serve is found here.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when there is none, it is of another kind, may not
    /// sign what TLS needs, or the authorization value is wrong, [`Signing`](crate::ErrorKind::Signing) when the TPM does not work. The source
    /// is a [`TpmError`].
    pub async fn open(self) -> Result<TpmKeyPair, Error> {
        self.pair(|_, _, _| Ok(()))
            .await
            .map_err(|error| error.into_error("the key pair cannot be used"))
    }

    async fn pair(
        self,
        prepare: impl FnOnce(&mut Connection<'_>, PersistentHandle, &AuthValue) -> Result<(), TpmError>
        + Send
        + 'static,
    ) -> Result<TpmKeyPair, TpmError> {
        let Self { tpm, place, auth } = self;
        let owner = tpm.clone();
        let key = tpm
            .run(move |connection| {
                prepare(connection, place, &auth)?;
                TlsKey::open(owner, connection, place, auth)
            })
            .await?;
        Ok(TpmKeyPair { key: Arc::new(key) })
    }
}

impl fmt::Debug for KeyPairOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPairOptions")
            .field("tpm", &self.tpm)
            .field("handle", &self.place)
            .finish_non_exhaustive()
    }
}

fn make(
    connection: &mut Connection<'_>,
    place: PersistentHandle,
    auth: &AuthValue,
    kind: KeyKind,
) -> Result<(), TpmError> {
    if connection.persistent(place)?.is_some() {
        return Err(TpmError::configuration(format!(
            "there is an object at {place} already, and it is left alone: open it, or name another handle"
        )));
    }
    keys::storage_root_key(connection)?;
    let parent = keys::kept(connection, connection.options.storage_root_key)?;
    let made = connection.authorized("TPM2_Create", |context| {
        let auth_value = Auth::try_from(auth.as_bytes())?;
        let public = template(kind, auth.is_empty())?;
        context.create(parent, public, Some(auth_value), None, None, None)
    })?;
    let key = connection
        .authorized("TPM2_Load", |context| {
            context.load(parent, made.out_private, made.out_public)
        })?
        .into();
    connection.flushing(key, |connection| connection.evict_control(key, place))?;
    debug!(handle = %place, ?kind, "a key pair was made");
    Ok(())
}

/// A key that signs anything, of which the scheme is chosen at each signature.
fn template(kind: KeyKind, is_open: bool) -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_sign_encrypt(true)
        // Without a value there is nothing to guess, and what others guess must not lock it.
        .with_no_da(is_open)
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
