//! The attributes of public keys, as modules return them.

use x509_cert::der::Decode;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};

use super::super::device_key::{KeyAlgorithm, PRIME256V1, SECP384R1};
use super::super::key_encoding::{ec_public_key, rsa_public_key};
use crate::error::Error;

/// The SubjectPublicKeyInfo, DER, of CKA_MODULUS and CKA_PUBLIC_EXPONENT: unsigned big-endian numbers.
pub(super) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>, Error> {
    let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
    if bytes < 256 {
        let bits = 8 * bytes;
        return Err(Error::configuration(format!(
            "the RSA key has {bits} bits, and TLS requires 2048 bits or more"
        )));
    }
    rsa_public_key(modulus, exponent)
}

/// The SubjectPublicKeyInfo, DER, of CKA_EC_PARAMS (the DER of the curve's object identifier) and CKA_EC_POINT.
pub(super) fn ec_key(curve: &[u8], point: &[u8]) -> Result<Vec<u8>, Error> {
    let algorithm = match ObjectIdentifier::from_der(curve) {
        Ok(PRIME256V1) => KeyAlgorithm::P256,
        Ok(SECP384R1) => KeyAlgorithm::P384,
        _ => {
            return Err(Error::configuration(
                "the private key is on a curve other than P-256 and P-384",
            ));
        }
    };
    ec_public_key(algorithm, bare_point(point))
}

/// The standard wraps the point in an OCTET STRING, but some tokens do not. Both start with the byte 4, so the length decides: a bare
/// point has 65 (P-256) or 97 (P-384) bytes.
fn bare_point(point: &[u8]) -> &[u8] {
    match <&OctetStringRef>::from_der(point) {
        Ok(inner) if !matches!(point.len(), 65 | 97) => inner.as_bytes(),
        _ => point,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The object identifiers of P-256 and P-521, DER.
    const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    const P521: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x23";

    #[test]
    fn a_point_may_be_wrapped_or_bare() {
        let bare = [&[4][..], &[7; 64]].concat();
        let wrapped = [&[0x04, 0x41][..], &bare].concat();
        assert_eq!(bare_point(&wrapped), bare);
        assert_eq!(bare_point(&bare), bare);
        assert_eq!(
            ec_key(P256, &wrapped).unwrap(),
            ec_key(P256, &bare).unwrap()
        );

        let bare = [&[4, 0x5f][..], &[7; 95]].concat();
        assert_eq!(bare.len(), 97);
        assert_eq!(bare_point(&bare), bare);
    }

    #[test]
    fn malformed_keys_are_refused() {
        let point = [&[4][..], &[7; 64]].concat();
        let compressed = [&[2][..], &[7; 32]].concat();
        let other = [&[5][..], &[7; 64]].concat();
        for (curve, point) in [
            (&[][..], &point[..]),
            (P521, &point),
            (&P256[..5], &point),
            (P256, &[]),
            (P256, &point[..64]),
            (P256, &compressed),
            (P256, &other),
            (P256, &[0x04, 0x41]),
            (P256, &[0x04, 0x00]),
        ] {
            assert!(ec_key(curve, point).is_err(), "{curve:?} {point:?}");
        }
        for (modulus, exponent) in [
            (vec![], vec![1, 0, 1]),
            (vec![0xc0; 255], vec![1, 0, 1]),
            (vec![0; 512], vec![1, 0, 1]),
        ] {
            assert!(rsa_key(&modulus, &exponent).is_err());
        }
        assert!(rsa_key(&[0xc1; 256], &[1, 0, 1]).is_ok());
    }
}
