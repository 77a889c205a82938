//! Who the client is: reads a certificate chain and a private key, and brings the two together.

use rustls::InconsistentKeys;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

use crate::error::{Error, ErrorKind};
use crate::pem;

/// Reads a chain from PEM or DER: PEM where the bytes hold `-----BEGIN`, otherwise one DER certificate.
///
/// # Errors
///
/// [`ErrorKind::NoCertificate`] and [`ErrorKind::MalformedCertificate`].
pub fn read_chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    if bytes.is_empty() || pem::is_pem(bytes) {
        return chain_from_pem(bytes);
    }
    let chain = vec![CertificateDer::from(bytes.to_vec())];
    pem::check(&chain)?;
    Ok(chain)
}

/// Reads every `CERTIFICATE` block of the PEM, in its order, the leaf first; other blocks are passed over.
///
/// # Errors
///
/// [`ErrorKind::NoCertificate`] and [`ErrorKind::MalformedCertificate`].
pub fn chain_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    pem::certificates(pem)
}

/// Reads a private key, PEM or DER, of PKCS#8, SEC1 or PKCS#1: the first there is; other PEM blocks are passed over.
///
/// Only the outline of the key is checked here, the rest by [`certified_key`].
///
/// # Errors
///
/// [`ErrorKind::NoKey`], [`ErrorKind::MalformedKey`], and [`ErrorKind::EncryptedKey`] for a key that needs a password.
pub fn read_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    if bytes.is_empty() {
        return Err(no_key());
    }
    if pem::is_pem(bytes) {
        key_from_pem(bytes)
    } else {
        key_from_der(bytes)
    }
}

/// Loads the key and joins it to the chain, whose first certificate must be the key's.
///
/// Supported are ECDSA on P-256 and P-384, Ed25519, and RSA of 2048 to 4096 bits. The first certificate must be
/// X.509 version 3. The bytes of `key` are wiped.
///
/// For a key that is elsewhere, in an HSM say, make the [`CertifiedKey`] from your own
/// [`SigningKey`](rustls::sign::SigningKey).
///
/// # Errors
///
/// [`ErrorKind::NoCertificate`] for an empty chain, [`ErrorKind::UnsupportedKey`], [`ErrorKind::KeyMismatch`] and
/// [`ErrorKind::MalformedCertificate`].
pub fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    mut key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, Error> {
    let signing_key = any_supported_type(&key);
    key.zeroize();
    let signing_key = signing_key.map_err(|error| {
        Error::new(
            ErrorKind::UnsupportedKey,
            "the private key is damaged or of an unsupported kind: \
             use ECDSA on P-256 or P-384, Ed25519, or RSA of at least 2048 bits",
        )
        .with_source(error)
    })?;
    let identity = CertifiedKey::new(chain, signing_key);
    check(&identity)?;
    Ok(identity)
}

/// That there is a certificate, and that the key is its own as far as the key tells.
pub(crate) fn check(identity: &CertifiedKey) -> Result<(), Error> {
    if identity.cert.is_empty() {
        return Err(Error::new(
            ErrorKind::NoCertificate,
            "the certificate chain is empty",
        ));
    }
    match identity.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Error::new(
            ErrorKind::KeyMismatch,
            "the private key does not match the first certificate of the chain",
        )),
        Err(error) => Err(Error::new(
            ErrorKind::MalformedCertificate,
            "the first certificate of the chain is not a sound X.509 version 3 certificate",
        )
        .with_source(error)),
    }
}

fn key_from_pem(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    match PrivateKeyDer::from_pem_slice(pem::without_byte_order_mark(pem)) {
        Ok(key) if PrivateKeyDer::try_from(key.secret_der()).is_ok() => Ok(key),
        Ok(_) => Err(malformed_key()),
        Err(_) if is_encrypted_pem(pem) => Err(encrypted_key()),
        Err(PemError::NoItemsFound) => Err(no_key()),
        Err(error) => Err(Error::new(ErrorKind::MalformedKey, pem::fault(&error))),
    }
}

fn key_from_der(der: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    if let Ok(key) = PrivateKeyDer::try_from(der) {
        return Ok(key.clone_key());
    }
    Err(if is_encrypted_der(der) {
        encrypted_key()
    } else if pem::check(&[CertificateDer::from(der)]).is_ok() {
        no_key()
    } else {
        malformed_key()
    })
}

/// Encrypted PKCS#8, or OpenSSL's older way of encrypting the inside of a block.
fn is_encrypted_pem(pem: &[u8]) -> bool {
    pem::contains(pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || pem::contains(pem, b"Proc-Type: 4,ENCRYPTED")
}

/// Whether the DER starts like an encrypted PKCS#8 key, which names a PKCS#5 or PKCS#12 scheme where others have a
/// version.
fn is_encrypted_der(der: &[u8]) -> bool {
    const PKCS5: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05";
    const PKCS12_PBE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01";

    let scheme = sequence(der)
        .and_then(sequence)
        .and_then(|algorithm| match algorithm {
            [0x06, _, oid @ ..] => Some(oid),
            _ => None,
        });
    scheme.is_some_and(|oid| oid.starts_with(PKCS5) || oid.starts_with(PKCS12_PBE))
}

/// What follows the header of a DER sequence.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    let [0x30, length, rest @ ..] = der else {
        return None;
    };
    match length {
        0x00..=0x7f => Some(rest),
        _ => rest.get(usize::from(length & 0x7f)..),
    }
}

fn no_key() -> Error {
    Error::new(ErrorKind::NoKey, "no private key found in the input")
}

fn malformed_key() -> Error {
    Error::new(
        ErrorKind::MalformedKey,
        "the private key is malformed: it is none of PKCS#8, SEC1 and PKCS#1",
    )
}

fn encrypted_key() -> Error {
    Error::new(
        ErrorKind::EncryptedKey,
        "the private key is encrypted: decrypt it first, for instance with `openssl pkcs8`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_reads_past_the_end() {
        for der in [
            b"".as_slice(),
            b"\x30",
            b"\x30\x82",
            b"\x30\xff\x00",
            b"\x30\x02\x30",
            b"\x30\x04\x30\x02\x06",
        ] {
            assert!(!is_encrypted_der(der));
            assert_eq!(
                key_from_der(der).unwrap_err().kind(),
                ErrorKind::MalformedKey
            );
        }
    }
}
