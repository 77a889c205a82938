//! Verifies the signatures of certificates: a valid one once for each connection, and a limited number for each request.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use super::budget::SignatureBudget;
use crate::certificate::{Certificate, PublicKey};

/// The most signatures that are kept. A chain of usual length has one to three.
const MAX_KNOWN: usize = 8;

/// The valid signatures of the certificates that a client presented. Each of its requests presents them again, and a signature
/// that was valid stays so; validity periods and everything else are checked for each request.
#[derive(Debug, Default)]
pub(in crate::attest) struct KnownSignatures(Mutex<Vec<Known>>);

/// Everything that a verification depends on: the two algorithms, the key, the content and the signature.
type Known = [Box<[u8]>; 5];

/// How the signatures of one request are verified.
#[derive(Debug, Clone, Copy)]
pub(in crate::attest) struct Signatures<'a> {
    pub(in crate::attest) budget: &'a SignatureBudget,
    pub(in crate::attest) known: &'a KnownSignatures,
}

/// The budget is used up.
pub(super) struct TooMany;

impl Signatures<'_> {
    /// Whether the key made the signature of the certificate.
    pub(super) fn is_signed_by(
        self,
        certificate: &Certificate,
        key: &PublicKey,
    ) -> Result<bool, TooMany> {
        let verify = || certificate.is_signed_by(key);
        self.verify(certificate.signed_parts(key), verify)
    }

    fn verify(self, parts: [&[u8]; 5], verify: impl FnOnce() -> bool) -> Result<bool, TooMany> {
        if self.known.contains(parts) {
            return Ok(true);
        }
        if !self.budget.spend() {
            return Err(TooMany);
        }
        let is_valid = verify();
        if is_valid {
            self.known.add(parts);
        }
        Ok(is_valid)
    }
}

impl KnownSignatures {
    fn contains(&self, parts: [&[u8]; 5]) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .any(|it| it.iter().zip(parts).all(|(it, part)| **it == *part))
    }

    fn add(&self, parts: [&[u8]; 5]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_KNOWN {
            known.push(parts.map(Box::from));
        }
    }
}

/// An algorithm for webpki, which verifies all signatures of a path.
pub(super) struct Verified<'a> {
    pub(super) algorithm: &'static dyn SignatureVerificationAlgorithm,
    pub(super) signatures: Signatures<'a>,
}

impl SignatureVerificationAlgorithm for Verified<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let algorithm = self.algorithm;
        let parts = [
            &*algorithm.signature_alg_id(),
            &*algorithm.public_key_alg_id(),
            public_key,
            message,
            signature,
        ];
        let verify = || {
            let verified = algorithm.verify_signature(public_key, message, signature);
            verified.is_ok()
        };
        match self.signatures.verify(parts, verify) {
            Ok(true) => Ok(()),
            Ok(false) | Err(TooMany) => Err(InvalidSignature),
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

impl fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithm.fmt(f)
    }
}
