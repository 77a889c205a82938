//! Signatures of certificates and certificate signing requests, with the algorithms that TLS also accepts.

use webpki::ALL_VERIFICATION_ALGS;
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// The signed content of a certificate or request, and its signature.
#[derive(Clone)]
pub(crate) struct Signed {
    content: Vec<u8>,
    /// The value of the `AlgorithmIdentifier`, without tag and length.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

/// A public key that verifies signatures.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    /// The value of the `AlgorithmIdentifier`, without tag and length.
    algorithm: Vec<u8>,
    bits: Vec<u8>,
}

impl Signed {
    /// Reads the three parts that certificates and requests have in common. Source: RFC 5280, 4.1; RFC 2986, 4.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let mut fields = SliceReader::new(AnyRef::from_der(der).ok()?.value()).ok()?;
        let content = fields.tlv_bytes().ok()?.to_vec();
        let algorithm = AnyRef::from_der(fields.tlv_bytes().ok()?).ok()?;
        let signature = BitStringRef::from_der(fields.tlv_bytes().ok()?).ok()?;
        Some(Self {
            content,
            algorithm: algorithm.value().to_vec(),
            signature: signature.as_bytes()?.to_vec(),
        })
    }

    /// Everything that the verification with this key depends on: the two algorithms, the key, the content and the signature.
    pub(crate) fn parts<'a>(&'a self, key: &'a PublicKey) -> [&'a [u8]; 5] {
        [
            &self.algorithm,
            &key.algorithm,
            &key.bits,
            &self.content,
            &self.signature,
        ]
    }

    /// Returns true if the key's private half made the signature.
    pub(crate) fn is_by(&self, key: &PublicKey) -> bool {
        ALL_VERIFICATION_ALGS.iter().any(|known| {
            known.signature_alg_id().as_ref() == self.algorithm
                && known.public_key_alg_id().as_ref() == key.algorithm
                && known
                    .verify_signature(&key.bits, &self.content, &self.signature)
                    .is_ok()
        })
    }
}

impl PublicKey {
    pub(crate) fn new(key: &SubjectPublicKeyInfoOwned) -> Option<Self> {
        let algorithm = key.algorithm.to_der().ok()?;
        Some(Self {
            algorithm: AnyRef::from_der(&algorithm).ok()?.value().to_vec(),
            bits: key.subject_public_key.as_bytes()?.to_vec(),
        })
    }
}
