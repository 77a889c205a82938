//! Tells PEM from DER, reads certificates out of either, and words PEM errors without quoting the input.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{Error as PemError, PemObject};

use crate::error::{Error, ErrorKind};

pub(crate) fn is_pem(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN")
}

/// All the certificates of the PEM, each checked; at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(without_byte_order_mark(pem))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::new(ErrorKind::MalformedCertificate, fault(&error)))?;
    check(&certificates)?;
    Ok(certificates)
}

/// That there is at least one certificate, and that each is one.
pub(crate) fn check(certificates: &[CertificateDer<'_>]) -> Result<(), Error> {
    if certificates.is_empty() {
        return Err(Error::new(
            ErrorKind::NoCertificate,
            "no certificate found in the input",
        ));
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

/// What is wrong with the PEM. The errors of the reader quote whole lines, which may be a private key's, so they
/// neither show here nor are kept as a source.
pub(crate) fn fault(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "the PEM is malformed: a block has no END line",
        PemError::IllegalSectionStart { .. } => "the PEM is malformed: a BEGIN line is broken",
        PemError::Base64Decode(_) => "the PEM is malformed: a block is not base64",
        PemError::SectionTooLarge => "the PEM is malformed: a block is too large",
        _ => "the PEM is malformed",
    }
}

pub(crate) fn without_byte_order_mark(pem: &[u8]) -> &[u8] {
    pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem)
}

pub(crate) fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
