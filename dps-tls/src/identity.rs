//! A client's identity: reads a certificate chain, and joins it with its private key.

use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

use crate::error::{Error, ErrorKind};
use crate::reader::{is_version_1, read_certificates};

const VERSION_1: &str = "the first certificate of the chain is X.509 version 1, which rustls does not support: issue it as \
    version 3, with `openssl x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile v3.ext \
    -out device.pem`, where v3.ext holds the line `basicConstraints=CA:FALSE`";

/// Reads a certificate chain, the leaf first: [`read_certificates`], and checks that each can be parsed.
///
/// # Errors
///
/// As [`read_certificates`].
pub fn read_chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain = read_certificates(bytes)?;
    check_certificates(&chain)?;
    Ok(chain)
}

/// Checks that there is at least one certificate, and that each can be parsed.
pub(crate) fn check_certificates(certificates: &[CertificateDer<'_>]) -> Result<(), Error> {
    if certificates.is_empty() {
        let what = "the list of certificates is empty";
        return Err(Error::new(ErrorKind::NoCertificate, what));
    }
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        store.add(certificate.clone()).map_err(|error| {
            let number = index + 1;
            let what = format!("certificate {number} is not a sound X.509 certificate");
            Error::new(ErrorKind::MalformedCertificate, what).with_source(error)
        })?;
    }
    Ok(())
}

/// Loads the key and joins it to the chain, whose first certificate must be the key's.
///
/// Supported are ECDSA on P-256 and P-384, Ed25519, and RSA of 2048 to 4096 bits. The first certificate must be
/// X.509 version 3. The bytes of `key` are wiped.
///
/// For a key that is elsewhere, for instance in an HSM, make the [`CertifiedKey`] from your own
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

/// Checks that there is a certificate, and that the key belongs to it if the key has a public half.
pub(crate) fn check(identity: &CertifiedKey) -> Result<(), Error> {
    let Some(first) = identity.cert.first() else {
        return Err(Error::new(
            ErrorKind::NoCertificate,
            "the certificate chain is empty",
        ));
    };
    match identity.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Error::new(
            ErrorKind::KeyMismatch,
            "the private key does not match the first certificate of the chain",
        )),
        Err(error) if is_version_1(first) => {
            Err(Error::new(ErrorKind::MalformedCertificate, VERSION_1).with_source(error))
        }
        Err(error) => Err(Error::new(
            ErrorKind::MalformedCertificate,
            "the first certificate of the chain is not a sound X.509 version 3 certificate",
        )
        .with_source(error)),
    }
}
