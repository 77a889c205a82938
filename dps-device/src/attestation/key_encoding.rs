//! Public keys and signatures of hardware, in the formats of X.509 and TLS.

use dps_types::sas::SignError;
use rustls::SignatureScheme;
use rustls::crypto::ring;
use x509_cert::der::asn1::{AnyRef, BitString, ObjectIdentifier, UintRef};
use x509_cert::der::{self, Decode, Encode};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};

use super::device_key::{
    EC_PUBLIC_KEY, KeyAlgorithm, PRIME256V1, RSA_ENCRYPTION, SECP384R1, unencodable,
};
use crate::error::Error;

/// The SubjectPublicKeyInfo, DER, of a point on P-256 or P-384 (uncompressed: 4, x, y).
pub(crate) fn ec_public_key(algorithm: KeyAlgorithm, point: &[u8]) -> Result<Vec<u8>, Error> {
    let (curve, coordinate) = match algorithm {
        KeyAlgorithm::P256 => (PRIME256V1, 32),
        KeyAlgorithm::P384 => (SECP384R1, 48),
        KeyAlgorithm::Rsa => return Err(Error::configuration("an RSA key has no curve point")),
    };
    if point.len() != 1 + 2 * coordinate || point.first() != Some(&4) {
        return Err(Error::configuration(
            "the public key is not an uncompressed point of its curve",
        ));
    }
    public_key_info(EC_PUBLIC_KEY, AnyRef::from(&curve), point).map_err(unencodable)
}

/// The SubjectPublicKeyInfo, DER, of an RSA key. Both numbers big endian.
pub(crate) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>, Error> {
    let encode = || {
        let key = [UintRef::new(modulus)?, UintRef::new(exponent)?].to_der()?;
        public_key_info(RSA_ENCRYPTION, AnyRef::NULL, &key)
    };
    encode().map_err(unencodable)
}

/// An ECDSA signature in the format of TLS and X.509, from its two numbers, big endian.
pub(crate) fn ecdsa_signature(r: &[u8], s: &[u8]) -> Result<Vec<u8>, SignError> {
    let encode = || [UintRef::new(r)?, UintRef::new(s)?].to_der();
    encode().map_err(|error| {
        SignError::new("the device's signature cannot be encoded").with_source(error)
    })
}

/// Returns true if a TLS peer would accept this signature of the key (SubjectPublicKeyInfo, DER).
pub(crate) fn verifies(
    public_key: &[u8],
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(key) = SubjectPublicKeyInfoRef::from_der(public_key) else {
        return false;
    };
    let key = key.subject_public_key.raw_bytes();
    ring::default_provider()
        .signature_verification_algorithms
        .mapping
        .iter()
        .filter(|(of, _)| *of == scheme)
        .flat_map(|(_, algorithms)| algorithms.iter())
        .any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
}

fn public_key_info(
    oid: ObjectIdentifier,
    parameters: AnyRef<'_>,
    key: &[u8],
) -> Result<Vec<u8>, der::Error> {
    SubjectPublicKeyInfo {
        algorithm: AlgorithmIdentifier {
            oid,
            parameters: Some(parameters),
        },
        subject_public_key: BitString::from_bytes(key)?,
    }
    .to_der()
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData};

    use super::*;

    #[test]
    fn a_curve_point_is_encoded_as_in_certificates() {
        for (pair, kind) in [
            (&PKCS_ECDSA_P256_SHA256, KeyAlgorithm::P256),
            (&PKCS_ECDSA_P384_SHA384, KeyAlgorithm::P384),
        ] {
            let pair = KeyPair::generate_for(pair).unwrap();
            let info = ec_public_key(kind, pair.der_bytes()).unwrap();
            assert_eq!(info, pair.subject_public_key_info());
            assert_eq!(KeyAlgorithm::of(&info), Some(kind));
        }
        assert!(ec_public_key(KeyAlgorithm::P256, &[4; 64]).is_err());
        assert!(ec_public_key(KeyAlgorithm::P256, &[2; 65]).is_err());
    }

    #[test]
    fn numbers_are_encoded_unsigned_and_short() {
        // RFC 3279, 2.3.1: SEQUENCE { modulus, publicExponent }, in a BIT STRING.
        assert_eq!(
            rsa_public_key(&[0x00, 0xc1], &[0x01, 0x00, 0x01]).unwrap(),
            [
                &[0x30, 0x1d, 0x30, 0x0d, 0x06, 0x09][..],
                &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01],
                &[0x05, 0x00, 0x03, 0x0c, 0x00, 0x30, 0x09],
                &[0x02, 0x02, 0x00, 0xc1, 0x02, 0x03, 0x01, 0x00, 0x01],
            ]
            .concat()
        );
        assert_eq!(
            ecdsa_signature(&[0x00, 0x00, 0x7f], &[0x80, 0x01]).unwrap(),
            [0x30, 0x08, 0x02, 0x01, 0x7f, 0x02, 0x03, 0x00, 0x80, 0x01]
        );
    }

    #[test]
    fn an_invalid_signature_is_detected() {
        let pair = KeyPair::generate().unwrap();
        let key = pair.subject_public_key_info();
        let good = rcgen::SigningKey::sign(&pair, b"message").unwrap();
        let verifies = |scheme, message| verifies(&key, scheme, message, &good);

        assert!(verifies(SignatureScheme::ECDSA_NISTP256_SHA256, b"message"));
        assert!(!verifies(
            SignatureScheme::ECDSA_NISTP256_SHA256,
            b"another"
        ));
        assert!(!verifies(SignatureScheme::RSA_PSS_SHA256, b"message"));
    }
}
