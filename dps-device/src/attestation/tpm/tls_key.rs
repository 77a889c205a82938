//! A key pair in the TPM as TLS uses it: its public key, what it can sign, and signing.

use std::fmt;

use dps_types::sas::SignError;
use rustls::SignatureScheme;
use rustls::crypto::ring;
use sha2::{Digest as _, Sha256, Sha384};
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::{KeyHandle, ObjectHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::structures::{
    Digest, HashScheme, HashcheckTicket, Public, Signature, SignatureScheme as TpmScheme,
};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::connection::Connection;
use super::error::TpmError;
use super::handle::Tpm;
use super::options::{AuthValue, PersistentHandle};
use crate::attestation::device_key::{
    DeviceKey, KeyAlgorithm, ec_public_key, ecdsa_signature, rsa_public_key,
};

/// The public exponent that a TPM calls 0.
const DEFAULT_EXPONENT: u32 = 65537;

pub(super) struct TlsKey {
    tpm: Tpm,
    place: PersistentHandle,
    auth: AuthValue,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
    schemes: Vec<SignatureScheme>,
}

impl TlsKey {
    /// The key at a place. Of what its kind could sign, it offers what it signs well now.
    ///
    /// Some TPMs give an RSA-PSS signature the longest salt that fits, where TLS wants it as long as the hash; some keys
    /// are made for one scheme alone.
    pub(super) fn open(
        tpm: Tpm,
        connection: &mut Connection<'_>,
        place: PersistentHandle,
        auth: AuthValue,
    ) -> Result<Self, TpmError> {
        let key = kept(connection, place, &auth)?;
        let public = connection.public(key)?;
        let attributes = public.object_attributes();
        if !attributes.sign_encrypt() || attributes.restricted() || !attributes.user_with_auth() {
            return Err(TpmError::configuration(format!(
                "the object at {place} does not sign for TLS: it must be a signing key, not restricted, with userWithAuth"
            )));
        }
        let public_key = public_key(&public).ok_or_else(|| no_key_for_tls(place))?;
        let algorithm = KeyAlgorithm::of(&public_key).ok_or_else(|| no_key_for_tls(place))?;
        let mut schemes = Vec::new();
        for scheme in candidates(algorithm) {
            match sign(connection, key, *scheme, PROBE) {
                Ok(signature) if verifies(&public_key, *scheme, &signature) => {
                    schemes.push(*scheme);
                }
                Ok(_) => {}
                Err(error) if error.is_lack_of_scheme() => {}
                Err(error) => return Err(error),
            }
        }
        if schemes.is_empty() {
            return Err(TpmError::configuration(format!(
                "the key at {place} signs in no way that TLS knows"
            )));
        }
        Ok(Self {
            tpm,
            place,
            auth,
            algorithm,
            public_key,
            schemes,
        })
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

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.tpm
            .run_here(|connection| {
                let key = kept(connection, self.place, &self.auth)?;
                sign(connection, key, scheme, message)
            })
            .map_err(|error| error.sign_error("the TPM cannot sign with its key pair"))
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsKey")
            .field("handle", &self.place)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// What is signed when a key is opened, to see how it signs.
const PROBE: &[u8] = b"dps-device: which schemes does this key sign with?";

/// The best first. Every TPM hashes with SHA-256, not every one with more.
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

fn kept(
    connection: &mut Connection<'_>,
    place: PersistentHandle,
    auth: &AuthValue,
) -> Result<ObjectHandle, TpmError> {
    let key = connection.persistent(place)?.ok_or_else(|| {
        TpmError::configuration(format!("the TPM keeps no key at {place}: make one"))
    })?;
    connection.authorize(key, auth)?;
    Ok(key)
}

fn sign(
    connection: &mut Connection<'_>,
    key: ObjectHandle,
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
                "the key does not sign {other:?}"
            )));
        }
    };
    let signature = connection.authorized("TPM2_Sign", |context| {
        let not_hashed_by_the_tpm = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
            tag: TPM2_ST_HASHCHECK,
            hierarchy: TPM2_RH_NULL,
            digest: Default::default(),
        })?;
        context.sign(
            KeyHandle::from(key),
            Digest::try_from(hash)?,
            scheme,
            not_hashed_by_the_tpm,
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
            "the TPM has signed in another way than asked",
        )),
    }
}

/// The SubjectPublicKeyInfo of a key, DER. None when TLS has no such keys.
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

fn no_key_for_tls(place: PersistentHandle) -> TpmError {
    TpmError::configuration(format!(
        "the object at {place} is no key for TLS: those are P-256, P-384 and RSA"
    ))
}

/// A coordinate in full length: a TPM may leave zeros out at the front.
fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let missing = length.checked_sub(number.len())?;
    Some([&vec![0; missing][..], number].concat())
}

/// Whether a TLS peer would take this signature.
fn verifies(public_key: &[u8], scheme: SignatureScheme, signature: &[u8]) -> bool {
    let Ok(key) = SubjectPublicKeyInfoRef::from_der(public_key) else {
        return false;
    };
    let key = key.subject_public_key.raw_bytes();
    ring::default_provider()
        .signature_verification_algorithms
        .mapping
        .iter()
        .filter(|(known, _)| *known == scheme)
        .flat_map(|(_, algorithms)| algorithms.iter())
        .any(|algorithm| algorithm.verify_signature(key, PROBE, signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_coordinate_gets_its_zeros_back() {
        assert_eq!(padded(&[1, 2], 4), Some(vec![0, 0, 1, 2]));
        assert_eq!(padded(&[1, 2], 2), Some(vec![1, 2]));
        assert_eq!(padded(&[1, 2, 3], 2), None);
    }

    #[test]
    fn a_signature_that_a_peer_would_refuse_is_found() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = rcgen::PublicKeyData::subject_public_key_info(&pair);
        let good = rcgen::SigningKey::sign(&pair, PROBE).unwrap();
        let other = rcgen::SigningKey::sign(&pair, b"something else").unwrap();
        let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;

        assert!(verifies(&key, scheme, &good));
        assert!(!verifies(&key, scheme, &other));
        assert!(!verifies(&key, SignatureScheme::RSA_PSS_SHA256, &good));
    }
}
