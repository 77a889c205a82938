//! Which mechanism of PKCS#11 makes the signature that TLS wants, and from what.

use std::borrow::Cow;

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use rustls::SignatureScheme;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// How a token signs.
pub(super) struct Plan {
    pub(super) mechanism: Mechanism<'static>,
    pub(super) input: Input,
}

/// What a mechanism wants.
#[derive(Clone, Copy)]
pub(super) enum Input {
    Message,
    Hash(Hash),
    /// The hash and its name: what PKCS#1 v1.5 signs.
    NamedHash(Hash),
}

#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// The first of the ways to make such a signature that the token has. To hash here is the most common one, and least for the token to do.
pub(super) fn plan(scheme: SignatureScheme, mechanisms: &[MechanismType]) -> Option<Plan> {
    ways(scheme)?
        .into_iter()
        .find(|plan| mechanisms.contains(&plan.mechanism.mechanism_type()))
}

fn ways(scheme: SignatureScheme) -> Option<[Plan; 2]> {
    use Hash as H;
    use Mechanism::*;
    let (here, input, there) = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => (Ecdsa, Input::Hash(H::Sha256), EcdsaSha256),
        SignatureScheme::ECDSA_NISTP384_SHA384 => (Ecdsa, Input::Hash(H::Sha384), EcdsaSha384),
        SignatureScheme::RSA_PKCS1_SHA256 => (RsaPkcs, Input::NamedHash(H::Sha256), Sha256RsaPkcs),
        SignatureScheme::RSA_PKCS1_SHA384 => (RsaPkcs, Input::NamedHash(H::Sha384), Sha384RsaPkcs),
        SignatureScheme::RSA_PKCS1_SHA512 => (RsaPkcs, Input::NamedHash(H::Sha512), Sha512RsaPkcs),
        SignatureScheme::RSA_PSS_SHA256 => {
            let parameters = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32);
            let there = Sha256RsaPkcsPss(parameters);
            (RsaPkcsPss(parameters), Input::Hash(H::Sha256), there)
        }
        SignatureScheme::RSA_PSS_SHA384 => {
            let parameters = pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48);
            let there = Sha384RsaPkcsPss(parameters);
            (RsaPkcsPss(parameters), Input::Hash(H::Sha384), there)
        }
        SignatureScheme::RSA_PSS_SHA512 => {
            let parameters = pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64);
            let there = Sha512RsaPkcsPss(parameters);
            (RsaPkcsPss(parameters), Input::Hash(H::Sha512), there)
        }
        _ => return None,
    };
    Some([
        Plan {
            mechanism: here,
            input,
        },
        Plan {
            mechanism: there,
            input: Input::Message,
        },
    ])
}

/// TLS wants salt as long as the hash. Source: RFC 8446, 4.2.3.
fn pss(hash_alg: MechanismType, mgf: PkcsMgfType, salt: u32) -> PkcsPssParams {
    PkcsPssParams {
        hash_alg,
        mgf,
        s_len: u64::from(salt).into(),
    }
}

impl Input {
    pub(super) fn of(self, message: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Message => message.into(),
            Self::Hash(hash) => hash.of(message).into(),
            Self::NamedHash(hash) => [hash.name(), &hash.of(message)].concat().into(),
        }
    }
}

impl Hash {
    fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    /// What stands before the hash in a DigestInfo. Source: RFC 8017, 9.2, note 1.
    fn name(self) -> &'static [u8] {
        match self {
            Self::Sha256 => {
                b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
            }
            Self::Sha384 => {
                b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
            }
            Self::Sha512 => {
                b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"
            }
        }
    }
}

/// Whether this public key (SubjectPublicKeyInfo, DER) takes the signature for its own.
pub(super) fn verifies(
    scheme: SignatureScheme,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(key) = SubjectPublicKeyInfoRef::from_der(public_key) else {
        return false;
    };
    let Some(key) = key.subject_public_key.as_bytes() else {
        return false;
    };
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    algorithms
        .mapping
        .iter()
        .filter(|(of, _)| *of == scheme)
        .flat_map(|(_, algorithms)| algorithms.iter())
        .any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
}
