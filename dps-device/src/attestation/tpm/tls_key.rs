//! A key pair in the TPM for TLS: its public key, its signature schemes, and signing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dps_types::sas::SignError;
use rustls::SignatureScheme;
use sha2::{Digest as _, Sha256, Sha384};
use tracing::debug;
use tss_esapi::Context;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::{KeyHandle, ObjectHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Digest, HashScheme, HashcheckTicket, Public, Signature, SignatureScheme as TpmScheme,
};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;

use super::auth_value::KeyAuth;
use super::connection::Connection;
use super::error::TpmError;
use super::handle::Tpm;
use super::options::PersistentHandle;
use super::policy::PcrPolicy;
use crate::attestation::device_key::{DeviceKey, KeyAlgorithm};
use crate::attestation::key_encoding::{ec_public_key, ecdsa_signature, rsa_public_key, verifies};

/// The public exponent that a TPM encodes as 0.
const DEFAULT_EXPONENT: u32 = 65537;

const CANNOT_SIGN: &str = "the TPM cannot sign with its key pair";

/// The limit of the attempts to use a key with a policy while PCRs are extended.
const POLICY_ATTEMPTS: usize = 5;

/// The authorization value and the policy that the use of a key requires.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) auth: KeyAuth,
    pub(super) policy: Option<PcrPolicy>,
}

impl Access {
    /// The `authPolicy` of the key. Empty without a policy.
    pub(super) fn policy_digest(&self) -> Result<Vec<u8>, TpmError> {
        match &self.policy {
            Some(policy) => policy.digest(!self.auth.is_empty()).map(Vec::from),
            None => Ok(Vec::new()),
        }
    }

    /// Runs a command that uses the key.
    ///
    /// The TPM refuses it if any PCR was extended since the policy was checked, also one that the policy does not name: Linux extends
    /// PCR 10 with each program that starts. The check is then repeated, and names a PCR of the policy that has changed.
    fn authorized<T>(
        &self,
        connection: &mut Connection<'_>,
        command: &'static str,
        mut run: impl FnMut(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T, TpmError> {
        let Some(policy) = &self.policy else {
            return connection.authorized(command, run);
        };
        for _ in 1..POLICY_ATTEMPTS {
            match self.with_policy(policy, connection, command, &mut run) {
                Err(error) if error.is_pcr_changed() => {
                    debug!(%error, "the policy of the key is checked again");
                }
                done => return done,
            }
        }
        self.with_policy(policy, connection, command, run)
    }

    fn with_policy<T>(
        &self,
        policy: &PcrPolicy,
        connection: &mut Connection<'_>,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T, TpmError> {
        let has_auth = !self.auth.is_empty();
        connection.with_policy_session(has_auth, |connection, session| {
            let steps =
                PolicySession::try_from(session).map_err(|error| TpmError::new(command, error))?;
            policy.satisfy(connection, steps, has_auth)?;
            let encryption = match connection.session(command)? {
                AuthSession::Password => None,
                session => Some(session),
            };
            connection.with_sessions(command, (Some(session), encryption, None), run)
        })
    }
}

pub(super) struct TlsKey {
    tpm: Tpm,
    handle: PersistentHandle,
    access: Access,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
    schemes: Vec<SignatureScheme>,
    /// The key has refused its authorization value.
    is_refused: Arc<AtomicBool>,
}

impl TlsKey {
    /// Opens the key at a handle and tries each scheme that its algorithm allows. It offers those whose signature verifies.
    ///
    /// A trial is necessary: some TPMs use the longest possible salt in RSA-PSS, while TLS requires a salt as long as the hash, and
    /// some keys are restricted to one scheme.
    pub(super) fn open(
        tpm: Tpm,
        connection: &mut Connection<'_>,
        handle: PersistentHandle,
        access: Access,
    ) -> Result<Self, TpmError> {
        let key = stored(connection, handle, &access.auth)?;
        let public = connection.public(key)?;
        let attributes = public.object_attributes();
        let usable = attributes.user_with_auth() || access.policy.is_some();
        if !attributes.sign_encrypt() || attributes.restricted() || !usable {
            return Err(TpmError::configuration(format!(
                "the object at {handle} does not sign for TLS: it must be an unrestricted signing key with userWithAuth, or be opened \
                 with its policy"
            )));
        }
        if access.policy.is_some() && public.auth_policy().value() != access.policy_digest()? {
            return Err(TpmError::configuration(format!(
                "the key at {handle} was created with another policy, with another authority, or with or without an authorization value"
            )));
        }
        if access.policy.is_some() && attributes.user_with_auth() {
            return Err(TpmError::configuration(format!(
                "the key at {handle} can also be used without its policy (userWithAuth): create a key with the policy, or open this key \
                 without it"
            )));
        }
        let public_key = public_key(&public).ok_or_else(|| unsuitable(handle))?;
        let algorithm = KeyAlgorithm::of(&public_key).ok_or_else(|| unsuitable(handle))?;
        let mut schemes = Vec::new();
        for scheme in candidates(algorithm) {
            match sign(connection, key, &access, *scheme, PROBE) {
                Ok(signature) if verifies(&public_key, *scheme, PROBE, &signature) => {
                    schemes.push(*scheme);
                }
                Ok(_) => {}
                Err(error) if error.is_unsupported_scheme() => {}
                Err(error) => return Err(error),
            }
        }
        if schemes.is_empty() {
            return Err(TpmError::configuration(format!(
                "the key at {handle} supports no signature scheme of TLS"
            )));
        }
        Ok(Self {
            tpm,
            handle,
            access,
            algorithm,
            public_key,
            schemes,
            is_refused: Arc::default(),
        })
    }

    pub(super) fn tpm(&self) -> &Tpm {
        &self.tpm
    }
}

impl DeviceKey for TlsKey {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &self.schemes
    }

    /// Signs, and checks that the key at the handle is still this one: another process may have replaced it. The TPM is asked for the
    /// key only after a failure.
    ///
    /// A wrong authorization value is tried once, because the TPM is locked after some more of them.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        if self.is_refused.load(Ordering::Relaxed) {
            return Err(refused_before(self.handle).sign_error(CANNOT_SIGN));
        }
        let (handle, access, message) = (self.handle, self.access.clone(), message.to_vec());
        let (expected, is_refused) = (self.public_key.clone(), self.is_refused.clone());
        self.tpm
            .run_blocking(move |connection| {
                let key = stored(connection, handle, &access.auth)?;
                match sign(connection, key, &access, scheme, &message) {
                    Ok(signature) if verifies(&expected, scheme, &message, &signature) => {
                        Ok(signature)
                    }
                    Ok(_) => Err(replaced(handle)),
                    Err(error) => {
                        if error.is_wrong_value() {
                            is_refused.store(true, Ordering::Relaxed);
                        }
                        match connection.public(key) {
                            Ok(found) if public_key(&found).as_deref() != Some(&expected) => {
                                Err(replaced(handle))
                            }
                            _ => Err(error),
                        }
                    }
                }
            })
            .map_err(|error| error.sign_error(CANNOT_SIGN))
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsKey")
            .field("handle", &self.handle)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The message of the trial signatures.
const PROBE: &[u8] = b"dps-device: which schemes does this key sign with?";

/// The schemes to try, the best first. Every TPM supports SHA-256, but not every TPM supports longer hashes.
fn candidates(algorithm: KeyAlgorithm) -> &'static [SignatureScheme] {
    match algorithm {
        KeyAlgorithm::P256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
        KeyAlgorithm::P384 => &[SignatureScheme::ECDSA_NISTP384_SHA384],
        KeyAlgorithm::Rsa => &[
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA256,
        ],
    }
}

fn stored(
    connection: &mut Connection<'_>,
    handle: PersistentHandle,
    auth: &KeyAuth,
) -> Result<ObjectHandle, TpmError> {
    let key = connection.persistent(handle)?.ok_or_else(|| {
        TpmError::configuration(format!("the TPM has no key at {handle}: create one first"))
    })?;
    connection.authorize(key, auth)?;
    Ok(key)
}

fn sign(
    connection: &mut Connection<'_>,
    key: ObjectHandle,
    access: &Access,
    scheme: SignatureScheme,
    message: &[u8],
) -> Result<Vec<u8>, TpmError> {
    let sha256 = HashScheme::new(HashingAlgorithm::Sha256);
    let sha384 = HashScheme::new(HashingAlgorithm::Sha384);
    let (scheme, hash) = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => (
            TpmScheme::EcDsa {
                hash_scheme: sha256,
            },
            Sha256::digest(message).to_vec(),
        ),
        SignatureScheme::ECDSA_NISTP384_SHA384 => (
            TpmScheme::EcDsa {
                hash_scheme: sha384,
            },
            Sha384::digest(message).to_vec(),
        ),
        SignatureScheme::RSA_PSS_SHA256 => (
            TpmScheme::RsaPss {
                hash_scheme: sha256,
            },
            Sha256::digest(message).to_vec(),
        ),
        SignatureScheme::RSA_PKCS1_SHA256 => (
            TpmScheme::RsaSsa {
                hash_scheme: sha256,
            },
            Sha256::digest(message).to_vec(),
        ),
        other => {
            return Err(TpmError::refused(format!(
                "the key does not support {other:?}"
            )));
        }
    };
    let signature = access.authorized(connection, "TPM2_Sign", |context| {
        let hashed_outside_the_tpm = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
            tag: TPM2_ST_HASHCHECK,
            hierarchy: TPM2_RH_NULL,
            digest: Default::default(),
        })?;
        context.sign(
            KeyHandle::from(key),
            Digest::try_from(&hash[..])?,
            scheme,
            hashed_outside_the_tpm,
        )
    })?;
    match signature {
        Signature::EcDsa(signature) => {
            ecdsa_signature(signature.signature_r(), signature.signature_s())
                .map_err(|error| TpmError::refused(error.to_string()))
        }
        Signature::RsaSsa(signature) | Signature::RsaPss(signature) => {
            Ok(signature.signature().value().to_vec())
        }
        _ => Err(TpmError::refused(
            "the TPM used another signature scheme than requested",
        )),
    }
}

/// The SubjectPublicKeyInfo of a key, DER. `None` if TLS does not support this kind of key.
fn public_key(public: &Public) -> Option<Vec<u8>> {
    match public {
        Public::Ecc {
            parameters, unique, ..
        } => {
            let (algorithm, length) = match parameters.ecc_curve() {
                EccCurve::NistP256 => (KeyAlgorithm::P256, 32),
                EccCurve::NistP384 => (KeyAlgorithm::P384, 48),
                _ => return None,
            };
            let x = padded(unique.x(), length)?;
            let y = padded(unique.y(), length)?;
            ec_public_key(algorithm, &[&[4][..], &x, &y].concat()).ok()
        }
        Public::Rsa {
            parameters, unique, ..
        } => {
            let exponent = match parameters.exponent().value() {
                0 => DEFAULT_EXPONENT,
                other => other,
            };
            rsa_public_key(unique, &exponent.to_be_bytes()).ok()
        }
        _ => None,
    }
}

fn refused_before(handle: PersistentHandle) -> TpmError {
    TpmError::configuration(format!(
        "the key at {handle} has refused its authorization value before, so it is not tried again: if the key was replaced, open the new \
         one, with its certificate"
    ))
}

fn replaced(handle: PersistentHandle) -> TpmError {
    TpmError::configuration(format!(
        "the key at {handle} is another one than the key that was opened, or its signature is not valid: if the key was replaced, open \
         the new one, with its certificate"
    ))
}

fn unsuitable(handle: PersistentHandle) -> TpmError {
    TpmError::configuration(format!(
        "the object at {handle} is not a key for TLS: the supported keys are P-256, P-384 and RSA"
    ))
}

/// Restores the leading zeros of a coordinate, which a TPM may omit.
fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let missing = length.checked_sub(number.len())?;
    Some([&vec![0; missing][..], number].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_of_a_coordinate_are_restored() {
        assert_eq!(padded(&[1, 2], 4), Some(vec![0, 0, 1, 2]));
        assert_eq!(padded(&[1, 2], 2), Some(vec![1, 2]));
        assert_eq!(padded(&[1, 2, 3], 2), None);
    }
}
