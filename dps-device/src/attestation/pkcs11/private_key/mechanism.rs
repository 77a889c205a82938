//! The PKCS#11 mechanism for each signature scheme of TLS, and its input.

use std::borrow::Cow;

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use rustls::SignatureScheme;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A mechanism and its input.
pub(super) struct Plan {
    pub(super) mechanism: Mechanism<'static>,
    pub(super) input: Input,
}

/// The input of a mechanism.
#[derive(Clone, Copy)]
pub(super) enum Input {
    Message,
    Hash(Hash),
    /// The DigestInfo, which PKCS#1 v1.5 signs: the hash with its algorithm.
    DigestInfo(Hash),
}

#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// The first mechanism for this scheme that the token supports. Hashing outside the token comes first: more tokens support it, and
/// it is less work for the token.
pub(super) fn plan(scheme: SignatureScheme, mechanisms: &[MechanismType]) -> Option<Plan> {
    plans(scheme)?
        .into_iter()
        .find(|plan| mechanisms.contains(&plan.mechanism.mechanism_type()))
}

fn plans(scheme: SignatureScheme) -> Option<[Plan; 2]> {
    use Hash as H;
    use Mechanism::*;
    let (hashed_here, input, hashed_by_token) = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => (Ecdsa, Input::Hash(H::Sha256), EcdsaSha256),
        SignatureScheme::ECDSA_NISTP384_SHA384 => (Ecdsa, Input::Hash(H::Sha384), EcdsaSha384),
        SignatureScheme::RSA_PKCS1_SHA256 => (RsaPkcs, Input::DigestInfo(H::Sha256), Sha256RsaPkcs),
        SignatureScheme::RSA_PKCS1_SHA384 => (RsaPkcs, Input::DigestInfo(H::Sha384), Sha384RsaPkcs),
        SignatureScheme::RSA_PKCS1_SHA512 => (RsaPkcs, Input::DigestInfo(H::Sha512), Sha512RsaPkcs),
        SignatureScheme::RSA_PSS_SHA256 => {
            let parameters = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32);
            let hashed_by_token = Sha256RsaPkcsPss(parameters);
            (
                RsaPkcsPss(parameters),
                Input::Hash(H::Sha256),
                hashed_by_token,
            )
        }
        SignatureScheme::RSA_PSS_SHA384 => {
            let parameters = pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48);
            let hashed_by_token = Sha384RsaPkcsPss(parameters);
            (
                RsaPkcsPss(parameters),
                Input::Hash(H::Sha384),
                hashed_by_token,
            )
        }
        SignatureScheme::RSA_PSS_SHA512 => {
            let parameters = pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64);
            let hashed_by_token = Sha512RsaPkcsPss(parameters);
            (
                RsaPkcsPss(parameters),
                Input::Hash(H::Sha512),
                hashed_by_token,
            )
        }
        _ => return None,
    };
    Some([
        Plan {
            mechanism: hashed_here,
            input,
        },
        Plan {
            mechanism: hashed_by_token,
            input: Input::Message,
        },
    ])
}

/// TLS requires a salt as long as the hash. Source: RFC 8446, 4.2.3.
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
            Self::DigestInfo(hash) => [hash.digest_info_prefix(), &hash.of(message)]
                .concat()
                .into(),
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

    /// The bytes of a DigestInfo before the hash. Source: RFC 8017, 9.2, note 1.
    fn digest_info_prefix(self) -> &'static [u8] {
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
